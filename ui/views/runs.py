"""Page: runs."""
