"""Models at work: a worker that keeps them, jobs, and the memory that they may take."""
