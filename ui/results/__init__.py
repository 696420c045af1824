"""What trainings came to: leaderboard, curves, charts, attention."""
