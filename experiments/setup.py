"""Initialize the tracking store: `python -m experiments.setup`, part of `make setup`."""

from collections.abc import Sequence

from experiments.config import Config, UserError, cli


class SetupConfig(Config):
    """Create or migrate the tracking store that MLFLOW_TRACKING_URI names, safely also when several processes do."""


def main(argv: Sequence[str] | None = None) -> None:
    """Create or migrate the store under its lock, and say where it is. Raises UserError if it cannot be reached."""
    cli.parse(SetupConfig, argv)
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
