"""Page: image."""
