"""What our layers cost: a model called bare beside MLflow's pyfunc of the same model in memory, in turns.

`python -m experiments.judging.overhead` makes random models and needs no network and no registry; with `--models NAME`
it takes registered ones. What it must reach: at most 5 ms a request and 2 % on long generations; the first piece of a
stream as soon as the model has its token.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments import cli
from experiments.config import option

if TYPE_CHECKING:
    from experiments.judging.overhead_report import OverheadResult


@dataclass(frozen=True)
class OverheadConfig:
    """Measure the time that this project and MLflow add to the bare call of a model."""

    models: str = option(
        "auto", "registered models separated by commas (name, name@alias, name/version); auto = random ones made here"
    )
    tasks: str = option("auto", "of the random models: which tasks, separated by commas; auto = all that there are")
    repeats: int = option(50, "single requests of each kind, taken in turns", at_least=2, at_most=10_000)
    long_tokens: int = option(200, "tokens of a long generation by a random model of GPT-2's size; 0 = none",
                              at_least=0, at_most=900)  # fmt: skip
    long_repeats: int = option(8, "long generations of each kind, taken in turns", at_least=2, at_most=1000)
    threads: int = option(0, "CPU threads; 0 = all cores", at_least=0, at_most=1024)


def main(argv: Sequence[str] | None = None) -> "OverheadResult":
    """Measure as the command line says, and print a table."""
    config, _ = cli.parse(OverheadConfig, argv)
    # torch and MLflow take seconds to load: after the arguments, so that --help and mistakes answer at once.
    from experiments.judging.overhead_run import measure_overhead

    result = measure_overhead(config)
    print(result.table())
    return result


if __name__ == "__main__":
    cli.run(main)
