"""Our networks are the published ones: parameter counts, and equal logits with a reference's weights copied."""

from collections.abc import Callable
from functools import partial

import pytest
import timm
import torch
import torchvision
from timm.layers import SEModule
from torch import nn

from models import build
from models.timm_names import from_timm

IMAGENET_PARAMETERS = {
    "alexnet": 61_100_840,
    "vgg16": 138_357_544,
    "vgg16_bn": 138_365_992,
    "resnet18": 11_689_512,
    "resnet50": 25_557_032,
    "xception": 22_855_952,
    "seresnet50": 28_088_024,
    "senet154": 115_088_984,
}
# (channels, parameters) for ten classes: the papers' own counts for LeNet-5 (all of C3) and the CIFAR ResNets.
SMALL_PARAMETERS = {
    "lenet5": (1, 61_706),
    "alexnet": (3, 23_272_266),
    "alexnet_small": (3, 668_970),
    "vgg16": (3, 14_719_818),
    "resnet18": (3, 11_173_962),
    "resnet20": (3, 269_722),
    "resnet56": (3, 853_018),
    "xception": (3, 20_827_442),
    "xception_small": (3, 281_706),
    "seresnet18": (3, 11_263_042),
    "seresnet20": (3, 272_095),
}
REFERENCES: dict[str, Callable[[], nn.Module]] = {
    name: partial(timm.create_model, name)
    for name in ["resnet18", "resnet34", "resnet50", "seresnet50", "senet154"]
    + [f"vgg{depth}{suffix}" for depth in (11, 13, 16, 19) for suffix in ("", "_bn")]
} | {
    "alexnet": partial(torchvision.models.get_model, "alexnet", weights=None),
    "xception": partial(timm.create_model, "legacy_xception"),
    # timm rounds the gates' widths up to 8 unless told not to; the paper does not.
    "seresnet18": partial(timm.create_model, "seresnet18", block_args={"attn_layer": partial(SEModule, rd_divisor=1)}),
}


def parameters(name: str, num_classes: int, channels: int, stem: str) -> int:
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in build(name, num_classes, channels, stem).parameters())


@pytest.mark.parametrize("name", IMAGENET_PARAMETERS)
def test_parameters_for_imagenet(name: str) -> None:
    assert parameters(name, 1000, 3, "imagenet") == IMAGENET_PARAMETERS[name]


@pytest.mark.parametrize("name", SMALL_PARAMETERS)
def test_parameters_for_small_images(name: str) -> None:
    channels, expected = SMALL_PARAMETERS[name]
    assert parameters(name, 10, channels, "small") == expected


def random_value(key: str, like: torch.Tensor) -> torch.Tensor:
    """A value for an entry of a state_dict, such that no layer is an identity and signals neither die nor explode."""
    if like.ndim > 1:
        bound = (4.5 / like[0].numel()) ** 0.5
        return torch.empty(like.shape).uniform_(-bound, bound)
    if key.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if key.endswith(("weight", "running_var")):
        return torch.empty(like.shape).uniform_(0.5, 1.0)
    return torch.empty(like.shape).normal_(0, 0.1)


def current(key: str) -> str:
    """What timm calls an entry now that one of its ports of Caffe networks has."""
    return key.removeprefix("layer0.").replace("se_module", "se").replace("last_linear", "fc")


def with_equal_weights(name: str, reference: Callable[[], nn.Module]) -> tuple[nn.Module, nn.Module]:
    """The reference and our network in eval mode, with the same random weights and statistics.

    Both are built without memory and then share one set of tensors, because half a gigabyte for each VGG takes its
    time. torchvision's AlexNet has its entries in the order of ours.
    """
    torch.manual_seed(0)
    with torch.device("meta"):
        theirs, ours = reference(), build(name, 1000, 3, "imagenet")
    values = {key: random_value(key, tensor) for key, tensor in theirs.state_dict().items()}
    theirs.load_state_dict(values, assign=True)
    if name == "alexnet":
        ours.load_state_dict(dict(zip(ours.state_dict(), values.values(), strict=True)), assign=True)
    else:
        ours.load_state_dict(from_timm(name, ours, {current(key): value for key, value in values.items()}), assign=True)
    return theirs.eval(), ours.eval()


@torch.no_grad()
def difference(theirs: nn.Module, ours: nn.Module) -> float:
    """Greatest difference of two images' logits, relative to how much the two images' logits differ.

    75 pixels: an odd number tells paddings apart.
    """
    images = torch.randn(2, 3, 75, 75)
    expected = theirs(images)
    spread = (expected[0] - expected[1]).abs().mean()
    return ((ours(images) - expected).abs().max() / spread).item()


@pytest.mark.parametrize("name", REFERENCES)
def test_equals_the_reference(name: str) -> None:
    assert difference(*with_equal_weights(name, REFERENCES[name])) < 1e-3


def test_is_not_the_caffe_variant() -> None:
    """Equal shapes, other strides: what the docstring of `models.senet` says, and that the test above can fail."""
    legacy = partial(timm.create_model, "legacy_seresnet50")
    assert difference(*with_equal_weights("seresnet50", legacy)) > 0.1
