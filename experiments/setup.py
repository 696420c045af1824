"""Initialize the tracking store: `python -m experiments.setup`, part of `make setup`."""

from experiments.config import cli


def main() -> None:
    """Create or migrate the store under its lock, and say where it is."""
    import mlflow

    from tasks.runs import open_store

    open_store()
    print(f"tracking store: {mlflow.get_tracking_uri()}")


if __name__ == "__main__":
    cli.run(main)
