"""Entry point `finetune`: train a pretrained model further on labeled texts of your own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.config import FinetuneConfig, cli

if TYPE_CHECKING:
    from experiments.training.family import Result


def main(argv: Sequence[str] | None = None) -> Result | None:
    """Fine-tune as the command line says; see `experiments.config.FinetuneConfig` for the parameters."""
    config, given = cli.parse(FinetuneConfig, argv)
    if config.resume == "none":
        # What is wrong with the file or the model's name is reported at once; torch and MLflow take seconds to load.
        from experiments.data.texts import load_texts
        from experiments.text.base_model import chosen

        load_texts(config)
        chosen(config)
    from experiments.text.report import TEXT
    from experiments.training.run import train

    result = train(TEXT, config, given)
    if result is not None:  # only rank 0 has one
        print(result.table())
        print(f"the model is {result.model_uri}; the tool lists it on the page of {config.task}")
    return result


if __name__ == "__main__":
    cli.run(main)
