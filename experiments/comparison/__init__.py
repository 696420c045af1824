"""The parts of the entry point `compare`: the grid, its runs, and the report on their results."""
