"""ImageNet weights of the Hub that a CNN can begin with: which there are, fetched, put into a network, and frozen.

They are timm's, as safetensors. Ids, licenses and the normalization are those of timm 1.0.31 (`get_pretrained_cfg`).
Commits were read off the pages of the models, https://huggingface.co/<id>/tree/<commit> or /commit/<commit>; where no
page with a whole commit was found, it says `main`, and every run says which commit that was. timm's Xception is not on
the Hub, and of AlexNet and SE-ResNet-18 it has no weights.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from experiments.config import CnnConfig, ConfigError
from experiments.registration.download import downloaded
from experiments.training.state import Slower
from models.timm_names import from_timm, last_layer
from tasks.base import ModelFolderError, first_line
from tasks.hub.names import Source

FILE = "model.safetensors"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels from 0 to 1, which they all saw


@dataclass(frozen=True)
class Published:
    """Weights on the Hub."""

    hub_id: str
    revision: str
    license: str


def _of_torchvision(name: str, revision: str = "main") -> Published:
    return Published(f"timm/{name}.tv_in1k", revision, "bsd-3-clause")


CATALOG = {
    "vgg11": _of_torchvision("vgg11", "38b46049b490ec2bdb6d4d32b8354c74977f3347"),
    "vgg13": _of_torchvision("vgg13"),
    "vgg16": _of_torchvision("vgg16", "3394518cba29aee1ea82a49d971be90d2dd1dab7"),
    "vgg19": _of_torchvision("vgg19", "128d4708565b3a414bcbb9bbad440b2fe37b9f18"),
    "vgg11_bn": _of_torchvision("vgg11_bn"),
    "vgg13_bn": _of_torchvision("vgg13_bn", "ed6e64d6167edbe08697cb4d7ceaef5077972131"),
    "vgg16_bn": _of_torchvision("vgg16_bn", "e00c01e7cee168262dcba6428dc4a8f41e27e965"),
    "vgg19_bn": _of_torchvision("vgg19_bn"),
    "resnet18": _of_torchvision("resnet18", "590dfdd48494d2316a8385e1ca7fbec3b9359b35"),
    "resnet34": _of_torchvision("resnet34", "c983eba7f5e69bc3548a626d1b0b0b914e5de3a6"),
    "resnet50": _of_torchvision("resnet50", "aa6c2d36d56bc0209040c02b5a7b7d7bf11d57b8"),
    "seresnet50": Published("timm/seresnet50.a2_in1k", "b4065e3941a5fb1d85511df16c0e8fc3c7c53596", "apache-2.0"),
    "senet154": Published("timm/senet154.gluon_in1k", "c79476e9118428d534db4c0c9005e3bdec9a02be", "apache-2.0"),
}


@dataclass(frozen=True)
class Weights:
    """Weights on this machine. Attributes: revision: the commit that they are from."""

    hub_id: str
    revision: str
    license: str
    file: Path
    sha256: str

    def tags(self) -> dict[str, str]:
        """Which weights a training began with."""
        return {
            "base_model": self.hub_id,
            "base_revision": self.revision,
            "base_sha256": self.sha256,
            "license": self.license,
        }


def located(config: CnnConfig) -> Weights:
    """The weights that a configuration names, downloaded if need be. Raises ConfigError, in one line."""
    entry = CATALOG[config.model]
    try:
        found = downloaded(Source(entry.hub_id, config.revision), "image-classification", "", ())
        with (found.folder / FILE).open("rb") as content:
            digest = hashlib.file_digest(content, "sha256").hexdigest()
    except (ModelFolderError, OSError) as error:
        raise ConfigError(f"weights: {first_line(error)}") from error
    return Weights(entry.hub_id, found.source.revision, found.license or entry.license, found.folder / FILE, digest)


def load(network: nn.Module, name: str, weights: Weights) -> None:
    """Put the weights into a network, but for a last layer of other classes. Raises ConfigError if they do not fit."""
    try:
        network.load_state_dict(from_timm(name, network, load_file(weights.file)))
    except (OSError, SafetensorError, ValueError) as error:
        raise ConfigError(
            f"weights: {FILE} of {weights.hub_id}, revision {weights.revision[:12]}, does not fit {name}: "
            f"{first_line(error)}"
        ) from error


def normalization(channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation per channel that the weights know; gray images have the mean of the three."""
    return (MEAN, STD) if channels == len(MEAN) else ((mean(MEAN),), (mean(STD),))


def trunk(network: nn.Module, fraction: float) -> Slower:
    """All parameters but those of the last layer, to be trained with a fraction of its learning rate."""
    last = {id(parameter) for parameter in network.get_submodule(last_layer(network)).parameters()}
    return Slower([parameter for parameter in network.parameters() if id(parameter) not in last], fraction)


def freeze(network: nn.Module, frozen: bool) -> None:
    """Have only the last layer learn, or all again. Statistics of batch norm are used as they are, not gathered."""
    for parameter in trunk(network, 1.0).parameters:
        parameter.requires_grad_(not frozen)
    for module in network.modules():
        if frozen and isinstance(module, _BatchNorm):
            module.eval()
