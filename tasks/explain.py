"""What a network looks at: Grad-CAM, words left out, first-layer filters, for figures and for the UI."""

import re

import torch
import torch.nn.functional as F
from torch import nn

from tasks.texts import LETTER, UNSPACED

SMALLEST_MAP = 4
MOST_PARTS = 64
# Words, marks between them, and emoji; Chinese and Japanese characters one by one.
PART = re.compile(rf"{UNSPACED}|(?:{LETTER})+(?:['’-](?:{LETTER})+)*|[^\w\s]+")
CLOSES = re.compile(r"\s|[,.;:!?)\]}”’»]|$")


def grad_cam(network: nn.Module, images: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
    """Grad-CAM: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks", ICCV 2017, equations 1 and 2.

    The maps of the last layer of `network.features` that still has at least 4 x 4 positions are weighted by the mean
    gradient of the class's logit, summed, cut off below zero and brought to the size of the images.

    Args:
        network: a network of `models`, in eval mode.
        images: normalized float `(n, channels, height, width)`.
        classes: the class to explain for each image, int64 `(n,)`; None explains what the network predicts.

    Returns float `(n, height, width)`, from 0 to 1: the share of the image's own highest value (all zeros where
    nothing speaks for the class).

    Raises ValueError if the network is in train mode, where batch statistics would mix the images.
    """
    if network.training:
        raise ValueError("the network is in train mode; call eval() first")
    with torch.enable_grad():
        logits, maps = _forward(network, images.detach())
        wanted = logits.detach().argmax(dim=1) if classes is None else classes
        (gradients,) = torch.autograd.grad(logits.gather(1, wanted[:, None]).sum(), maps)
    heat = (gradients.mean(dim=(2, 3), keepdim=True) * maps.detach()).sum(dim=1, keepdim=True).relu()
    heat = F.interpolate(heat.float(), images.shape[-2:], mode="bilinear", align_corners=False).squeeze(1)
    return heat / heat.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)


def _forward(network: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and the last maps `(n, c, h, w)` of the features that are large enough to show a place."""
    kept: list[torch.Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor) and output.ndim == 4 and min(output.shape[-2:]) >= SMALLEST_MAP:
            kept.append(output)

    features: nn.Module = network.get_submodule("features")
    handles = [module.register_forward_hook(keep) for module in features.modules()]
    try:
        # The images carry a gradient so that the maps do too, whatever is frozen in the network.
        logits = network(images.requires_grad_())
    finally:
        for handle in handles:
            handle.remove()
    return logits, kept[-1]


def first_layer_filters(network: nn.Module) -> torch.Tensor:
    """The weights of the first convolution, `(filters, channels, height, width)`.

    Raises ValueError if the network has none.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            return module.weight.detach()
    raise ValueError("the network has no convolution")


def parts_to_leave_out(text: str, most: int = MOST_PARTS) -> list[tuple[int, int]]:
    """Where the words and marks of a text are, as (start, end); where there are more than `most`, neighbors together.

    What a classifier says without each of them tells what each does. Leave-one-out: Li et al., "Understanding Neural
    Networks through Representation Erasure", 2016; occlusion in pictures: Zeiler & Fergus, ECCV 2014.
    """
    found = [match.span() for match in PART.finditer(text)]
    together = -(-len(found) // most)
    groups = [found[first : first + together] for first in range(0, len(found), together or 1)]
    return [(group[0][0], group[-1][1]) for group in groups]


def left_out(text: str, start: int, end: int) -> str:
    """A text without a part of it, and without a space that then meets another one or a closing mark."""
    before, after = text[:start], text[end:]
    if not before:
        return after.lstrip()
    return before.rstrip() + after if CLOSES.match(after) else before + after
