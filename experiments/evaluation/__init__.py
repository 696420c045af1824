"""Registered models measured on labeled data."""
