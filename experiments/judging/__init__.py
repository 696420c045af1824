"""Comparing registered models of one task on labelled rows."""
