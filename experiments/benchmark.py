"""Entry point `benchmark`: how fast is training here, what makes it fast, and how long does it take to be good."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.config import BenchmarkConfig, cli

if TYPE_CHECKING:
    from experiments.speed.report import BenchmarkResult


def main(argv: Sequence[str] | None = None) -> BenchmarkResult:
    """Measure as the command line says; see `experiments.config.BenchmarkConfig` for the parameters."""
    config, _ = cli.parse(BenchmarkConfig, argv)
    # torch and MLflow take seconds to load: after the arguments, so that --help and mistakes answer at once.
    from experiments.speed.run import benchmark

    result = benchmark(config)
    print(result.table())
    return result


if __name__ == "__main__":
    cli.run(main)
