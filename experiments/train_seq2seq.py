"""Entry point `seq2seq`: train one encoder-decoder to reverse sequences, and see it through to the registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.config import Seq2SeqConfig, cli

if TYPE_CHECKING:
    from experiments.training.family import Result


def main(argv: Sequence[str] | None = None) -> Result | None:
    """Train as the command line says; see `experiments.config.Seq2SeqConfig` for the parameters."""
    config, given = cli.parse(Seq2SeqConfig, argv)
    # torch and MLflow take seconds to load: after the arguments, so that --help and mistakes answer at once.
    from experiments.seq2seq.report import SEQ2SEQ
    from experiments.training.run import train

    result = train(SEQ2SEQ, config, given)
    if result is not None:  # only rank 0 has one
        print(result.table())
    return result


if __name__ == "__main__":
    cli.run(main)
