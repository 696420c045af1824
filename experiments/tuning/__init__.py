"""Tuning: a study of many short trainings in search of good settings; `experiments.tune` is the command line."""
