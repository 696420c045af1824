"""Entry point `benchmark`: how fast is training here, and what makes it fast."""

from collections.abc import Sequence

from experiments import cli
from experiments.config import BenchmarkConfig


def main(argv: Sequence[str] | None = None) -> None:
    """Measure as the command line says; see `experiments.config.BenchmarkConfig`."""
    config, _ = cli.parse(BenchmarkConfig, argv)
    from experiments.throughput import measure

    measure(config)


if __name__ == "__main__":
    cli.run(main)
