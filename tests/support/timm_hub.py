"""timm's networks with random weights, as its repositories on the Hub have them."""

import json
from collections.abc import Mapping

import safetensors.torch
import timm
import torch

from experiments.cnn.pretrained import CATALOG
from tests.support.local_hub import LocalHub


def timm_weights(name: str) -> dict[str, torch.Tensor]:
    """Weights of a network of timm, from a seed; those of batch norm are none that it begins with, as zeros are."""
    torch.manual_seed(0)
    network = timm.create_model(name)
    for key, value in network.state_dict().items():
        if key.endswith("running_var") or (key.endswith("weight") and value.ndim == 1):
            value.uniform_(0.5, 1.0)
    return network.state_dict()


def put_on_hub(hub: LocalHub, name: str, weights: Mapping[str, torch.Tensor]) -> str:
    """Have the Hub offer weights for the network of this name; their commit."""
    config = json.dumps({"architecture": name, "num_classes": 1000}).encode()
    content = safetensors.torch.save({key: value.contiguous() for key, value in weights.items()})
    files = {"config.json": config, "model.safetensors": content, "pytorch_model.bin": b"a pickle"}
    return hub.add(CATALOG[name].hub_id, files, library_name="timm", license=CATALOG[name].license).main
