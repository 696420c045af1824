"""Registered models measured on labelled data."""
