"""Page: tasks."""
