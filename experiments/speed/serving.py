"""What our layers cost: a model called bare beside MLflow's pyfunc of the same model in memory, in turns.

`python -m experiments.speed.serving` makes random models and needs no network and no registry; with `--models NAME`
it takes registered ones. What it must reach: at most 5 ms a request and 2 % on long generations; the first piece of a
stream as soon as the model has its token.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.config import cli
from experiments.config.programs import OverheadConfig

if TYPE_CHECKING:
    from experiments.speed.serving_report import OverheadResult


def main(argv: Sequence[str] | None = None) -> "OverheadResult":
    """Measure as the command line says, and print a table."""
    config, _ = cli.parse(OverheadConfig, argv)
    # torch and MLflow take seconds to load: after the arguments, so that --help and mistakes answer at once.
    from experiments.speed.serving_run import measure_overhead

    result = measure_overhead(config)
    print(result.table())
    return result


if __name__ == "__main__":
    cli.run(main)
