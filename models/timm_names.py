"""The published networks here under the names of timm (PyTorch Image Models): its weights as weights of ours.

The networks are the same, so that weights differ in names only, and in two shapes: a gate's 1 x 1 convolution there is
a linear layer here, and so are the two convolutions that VGG ends with.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from models import ARCHITECTURES

COUNTER = "num_batches_tracked"  # of batch norm, which files of old versions of torch lack


def last_layer(network: nn.Module) -> str:
    """The name of the linear layer that classifies."""
    return [name for name, module in network.named_modules() if isinstance(module, nn.Linear)][-1]


def timm_modules(name: str, network: nn.Module) -> dict[str, str]:
    """What timm calls the modules that have weights, by their names here. Raises KeyError for other families."""
    families = {"vgg": _vgg, "resnet": _residual, "senet": _residual, "xception": _xception}
    return families[ARCHITECTURES[name].family](name, network)


def from_timm(name: str, network: nn.Module, theirs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """timm's weights, as a state dict of a network with the stem `imagenet`.

    A last layer for another number of classes stays the network's own. For gray images the filters of the first layer
    are summed over their channels, as timm does it (`adapt_input_conv`): a gray image then gives what it gave as three
    equal channels.

    Args:
        name: of the architecture.
        theirs: the reference's weights by its names.

    Raises ValueError for a tensor that is missing, has another shape, or is of no part of the network.
    """
    modules, last = timm_modules(name, network), last_layer(network)
    ours, used = {}, set()
    for key, own in network.state_dict().items():
        module, _, kind = key.rpartition(".")
        other = f"{modules[module]}.{kind}"
        used.add(other)
        if other in theirs:
            value = _fitted(theirs[other], own)
            ours[key] = own if module == last and value.shape[1:] == own.shape[1:] and len(value) != len(own) else value
        elif kind == COUNTER:
            ours[key] = own
        else:
            raise ValueError(f"{other} is missing")
        if ours[key].shape != own.shape:
            raise ValueError(f"{other} has the shape {tuple(theirs[other].shape)}, not that of a {name}")
    if unknown := min(theirs.keys() - used, default=""):
        raise ValueError(f"{unknown} is of no part of a {name}")
    return ours


def _fitted(value: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
    """A tensor in our shape, if it can have it."""
    if value.ndim == 4 and own.ndim == 2:
        value = value.flatten(1)
    if value.ndim == own.ndim == 4 and own.shape[1] == 1 and value.shape[1] == 3:
        value = value.sum(dim=1, keepdim=True)
    return value.to(own.dtype)


def _vgg(_name: str, network: Any) -> dict[str, str]:
    features = {f"features.{place}": f"features.{place}" for place in range(len(network.features))}
    return {**features, "classifier.2": "pre_logits.fc1", "classifier.5": "pre_logits.fc2", "classifier.8": "head.fc"}


def _residual(name: str, network: Any) -> dict[str, str]:
    stem = {0: "conv1", 1: "bn1"}
    if name == "senet154":
        stem = {0: "conv1.0", 1: "conv1.1", 3: "conv1.3", 4: "conv1.4", 6: "conv1.6", 7: "bn1"}
    names = {f"features.0.{place}": theirs for place, theirs in stem.items()}
    branch = {0: "conv1", 1: "bn1", 3: "conv2", 4: "bn2", 6: "conv3", 7: "bn3"}
    for stage, blocks in enumerate(network.features):
        for block in range(len(blocks)) if stage else ():
            ours, theirs = f"features.{stage}.{block}.0", f"layer{stage}.{block}"
            names |= {f"{ours}.branch.{place}": f"{theirs}.{layer}" for place, layer in branch.items()}
            names |= {f"{ours}.shortcut.{place}": f"{theirs}.downsample.{place}" for place in (0, 1)}
            for gate in (f"{ours}.branch.5", f"{ours}.branch.8"):  # behind two convolutions, or three
                names |= {f"{gate}.excitation.0": f"{theirs}.se.fc1", f"{gate}.excitation.2": f"{theirs}.se.fc2"}
    return {**names, "classifier.1": "fc"}


def _xception(_name: str, _network: Any) -> dict[str, str]:
    layers = {
        0: "conv1", 1: "bn1", 3: "conv2", 4: "bn2",
        18: "conv3.conv1", 19: "conv3.pointwise", 20: "bn3",
        22: "conv4.conv1", 23: "conv4.pointwise", 24: "bn4",
    }  # fmt: skip
    names = {f"features.{place}": theirs for place, theirs in layers.items()}
    for block in range(1, 13):
        ours, theirs = f"features.{block + 5}", f"block{block}"
        first = int(block > 1)  # only the first block has no ReLU in front
        for number in range(3):  # of separable convolutions: one module there, two here
            here, there = first + 4 * number, first + 3 * number
            names |= {
                f"{ours}.branch.{here}": f"{theirs}.rep.{there}.conv1",
                f"{ours}.branch.{here + 1}": f"{theirs}.rep.{there}.pointwise",
                f"{ours}.branch.{here + 2}": f"{theirs}.rep.{there + 1}",
            }
        names |= {f"{ours}.shortcut.0": f"{theirs}.skip", f"{ours}.shortcut.1": f"{theirs}.skipbn"}
    return {**names, "classifier.1": "fc"}
