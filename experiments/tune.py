"""Entry point `tune`: search for good settings of a model by validation, then train the best over several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.config import TuneConfig, check_tuned_kind, cli

if TYPE_CHECKING:
    from experiments.tuning.report import TuneResult


def main(argv: Sequence[str] | None = None) -> TuneResult | None:
    """Tune as the command line says; see `experiments.config.TuneConfig` for the parameters."""
    config, _ = cli.parse(TuneConfig, argv)
    check_tuned_kind(config)
    # torch, MLflow and Optuna take seconds to load: after the arguments, so that --help and mistakes answer at once.
    from experiments.tuning.run import tune

    result = tune(config)
    if result is not None:  # the worker that leaves last has one
        print(result.table())
    return result


if __name__ == "__main__":
    cli.run(main)
