"""The parts of the entry point `benchmark`: measurements of speed."""
