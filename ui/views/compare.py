"""Page: compare."""
