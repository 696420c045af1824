"""The folder of a network that was trained here: its configuration and its weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tasks.base import ModelFolderError, first_line
from tasks.hub.checks import check_folder
from tasks.json_files import read_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance
    from torch import nn

CONFIG, WEIGHTS = "config.json", "model.safetensors"
Network = TypeVar("Network", bound="nn.Module")
Config = TypeVar("Config", bound="DataclassInstance")


def save_network(folder: Path, network: nn.Module, config: DataclassInstance) -> None:
    """Write a trained network, and all that is needed besides weights to use it."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(asdict(config), indent=1) + "\n")
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(weights, folder / WEIGHTS)


def load_network(folder: Path, build: Callable[[dict[str, Any]], tuple[Network, Config]]) -> tuple[Network, Config]:
    """Read what `save_network` wrote, in eval mode. Raises ModelFolderError, naming the file, if it cannot.

    Args: build: makes the untrained network and its configuration of the saved fields; TypeError or ValueError says
        what is wrong with them.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_folder(folder)
    try:
        fields = read_json(folder / CONFIG)
        if not isinstance(fields, dict):
            raise ValueError("it does not hold an object")
        network, config = build(fields)
    except (OSError, ValueError, TypeError) as error:
        raise ModelFolderError(f"{folder / CONFIG} cannot be used: {first_line(error)}") from error
    try:
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, SafetensorError, RuntimeError) as error:
        raise ModelFolderError(
            f"{folder / WEIGHTS} does not hold this network's weights: {first_line(error)}"
        ) from error
    return network.eval(), config
