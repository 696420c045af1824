"""Entry point `evaluate`: measure the starters on held-out data, and print the figures of their model cards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.config import EvaluateConfig, cli

if TYPE_CHECKING:
    from experiments.starters.starter import StarterEvaluation


def main(argv: Sequence[str] | None = None) -> dict[str, StarterEvaluation]:
    """Measure as the command line says; see `experiments.config.EvaluateConfig` for the parameters."""
    config, _ = cli.parse(EvaluateConfig, argv)
    # torch, transformers and MLflow take seconds to load: after the arguments, so that --help answers at once.
    from experiments.starters.evaluation import evaluate

    return evaluate(config)


if __name__ == "__main__":
    cli.run(main)
