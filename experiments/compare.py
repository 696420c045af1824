"""Entry point `compare`: models x data sets x seeds as nested runs under one parent, with a report; or registered
models of one task, evaluated on labeled rows.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.config import CompareConfig, ConfigError, TrainingError, check_kind, cli

if TYPE_CHECKING:
    from experiments.comparison.report import CompareResult
    from experiments.evaluation.report import EvaluationResult


def main(argv: Sequence[str] | None = None) -> CompareResult | EvaluationResult | None:
    """Compare as the command line says; see `experiments.config.CompareConfig` for the parameters.

    The result is None if another worker on the same grid writes the report, or if there is nothing to import. Raises
    TrainingError after the report if trainings failed, so that a script does not take it for complete.
    """
    config, _ = cli.parse(CompareConfig, argv)
    check_kind(config)
    after = ""
    if config.kind != "task" and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("compare runs in one process; start the same command several times instead of torchrun")
    # torch and MLflow take seconds to load: after the arguments, so that --help and mistakes answer at once.
    if config.kind == "task":
        from experiments.evaluation.run import evaluate_models

        result = evaluate_models(config)
    elif config.import_results != "none":
        from experiments.comparison.importing import import_results

        result = import_results(config)
    elif config.tracking == "none":
        from experiments.comparison.offline import compare_offline

        result = compare_offline(config)
        after = f"into MLflow, where that is: python -m experiments.compare --import_results {shlex.quote(config.out)}"
    else:
        from experiments.comparison.run import compare

        result = compare(config)
    if result is not None:
        print(result.table())
        if after:
            print(after)
        if result.failures and config.kind != "task" and config.import_results == "none":
            raise TrainingError(f"{len(result.failures)} failed (see above); the same command tries again")
    return result


if __name__ == "__main__":
    cli.run(main)
