"""Entry point `starter`: train the small model that this project ships for a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.config import StarterConfig, cli

if TYPE_CHECKING:
    from experiments.training.family import Result


def main(argv: Sequence[str] | None = None) -> Result | None:
    """Train as the command line says; see `experiments.config.StarterConfig` for the parameters."""
    config, given = cli.parse(StarterConfig, argv)
    # torch, transformers and MLflow take seconds to load: after the arguments, so that --help answers at once.
    from experiments.starters.training import train

    result = train(config, given)
    if result is not None:  # only rank 0 has one
        print(result.table())
    return result


if __name__ == "__main__":
    cli.run(main)
