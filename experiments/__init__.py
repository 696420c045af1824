"""The programs: one module per entry point of MLproject, and the parts that they share."""
