"""Asking models and what came of it: forms, jobs, answers, history, ratings, batches."""
