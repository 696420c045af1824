"""Pictures: drawing, framing, uploading, and what networks say about them."""
