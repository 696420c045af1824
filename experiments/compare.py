"""Entry point `compare`: models x data sets x seeds as nested runs under one parent, with a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments import cli
from experiments.config import CompareConfig

if TYPE_CHECKING:
    from experiments.comparison.report import CompareResult


def main(argv: Sequence[str] | None = None) -> CompareResult:
    """Compare as the command line says; see `experiments.config.CompareConfig` for the parameters."""
    config, _ = cli.parse(CompareConfig, argv)
    # torch and MLflow take seconds to load: after the arguments, so that --help and mistakes answer at once.
    from experiments.comparison.run import compare

    result = compare(config)
    print(result.table())
    return result


if __name__ == "__main__":
    cli.run(main)
