"""Initialize the tracking store: `python -m experiments.setup`, part of `make setup`."""

from experiments.config import UserError, cli


def main() -> None:
    """Create or migrate the store under its lock, and say where it is. Raises UserError if it cannot be reached."""
    import mlflow

    from tasks.runs import StoreUnreachableError, address, open_store, readable_errors

    try:
        with readable_errors():
            open_store()
    except StoreUnreachableError as error:
        raise UserError(str(error)) from error
    print(f"tracking store: {address(mlflow.get_tracking_uri())}")


if __name__ == "__main__":
    cli.run(main)
