"""What a network looks at: Grad-CAM and first-layer filters, for figures and for the UI."""

import torch
import torch.nn.functional as F
from torch import nn

SMALLEST_MAP = 4


def grad_cam(network: nn.Module, images: torch.Tensor, classes: torch.Tensor | None = None) -> torch.Tensor:
    """Grad-CAM: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks", ICCV 2017, equations 1 and 2.

    The maps of the last layer of `network.features` that still has at least 4 x 4 positions are weighted by the mean
    gradient of the class's logit, summed, cut off below zero and brought to the size of the images.

    Args:
        network: a network of `models`, in eval mode.
        images: normalized float `(n, channels, height, width)`.
        classes: the class to explain for each image, int64 `(n,)`; None explains what the network predicts.

    Returns float `(n, height, width)`, from 0 to 1: the fraction of the image's own highest value (all zeros where
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
