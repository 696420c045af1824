"""Data sets as tensors: where they come from, their splits and digests."""
