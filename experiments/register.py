"""Entry point `register`: pretrained models, one for each task, into the registry."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.config import RegisterConfig, check_limit, cli

if TYPE_CHECKING:
    from experiments.registration.report import RegisterResult


def main(argv: Sequence[str] | None = None) -> RegisterResult | None:
    """Register, or search, as the command line says; see `experiments.config.RegisterConfig` for the parameters."""
    config, _ = cli.parse(RegisterConfig, argv)
    check_limit(config)
    if config.search != "none":
        from experiments.registration.search import print_search

        print_search(config)
        return None
    from experiments.registration.choice import choices

    chosen = choices(config)
    # torch and MLflow take seconds to load: after what the user gave, so that --help and mistakes answer at once.
    from experiments.registration.run import register

    return register(config, chosen)


if __name__ == "__main__":
    cli.run(main)
