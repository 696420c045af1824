"""The only writers of MLflow runs."""
