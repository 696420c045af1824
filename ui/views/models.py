"""Page: models."""
