"""Task `image-classification`: what a CNN trained here says about a picture."""

from __future__ import annotations

import base64
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from tasks.base import Cancel, Task, never, stop_if
from tasks.images import IMAGE_SIZE, check_images, decode_image, to_image_size
from tasks.parameters import Parameters, option
from tasks.trained import load_network

if TYPE_CHECKING:
    import torch
    from torch import nn

MAX_IMAGE_SIZE = 1024
BATCH_SIZE = 256  # of 32 x 32; of larger ones the same number of pixels
EXPLAINED_AT_ONCE = 16  # likewise: gradients keep every layer's maps in memory
LIGHT_ON_DARK = 0.4  # a mean of pixels from 0 to 1: digits have 0.31, MNIST 0.13, Fashion-MNIST 0.29, CIFAR-10 0.47


@dataclass(frozen=True)
class ClassifierConfig:
    """All that is needed, besides weights, to use a trained network.

    `mean` and `std` are per channel, for pixels scaled to 0..1; `classes` are the labels in the order of the outputs;
    `image_size` is the side of the images in pixels; `light_on_dark` says whether those that it knows are light on
    black, as digits are; None: as `mean` tells, which is that of the training images unless weights were pretrained.
    """

    architecture: str
    stem: str
    in_channels: int
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int = IMAGE_SIZE
    light_on_dark: bool | None = None

    @property
    def inverted(self) -> bool:
        """Whether dark drawings are to be turned into light ones on black."""
        known = self.mean[0] < LIGHT_ON_DARK if self.light_on_dark is None else self.light_on_dark
        return self.in_channels == 1 and known


def load_classifier(folder: Path) -> tuple[nn.Module, ClassifierConfig]:
    """A trained network and its configuration. Raises ModelFolderError as `load_network`."""
    return load_network(folder, _build)


def _build(fields: dict[str, Any]) -> tuple[nn.Module, ClassifierConfig]:
    import models

    config = ClassifierConfig(**{name: _frozen(value) for name, value in fields.items()})
    _check_numbers(config)
    return models.build(config.architecture, len(config.classes), config.in_channels, config.stem), config


def _check_numbers(config: ClassifierConfig) -> None:
    if not isinstance(config.image_size, int) or not 1 <= config.image_size <= MAX_IMAGE_SIZE:
        raise ValueError(f"image_size is not a whole number from 1 to {MAX_IMAGE_SIZE}")
    for values in (config.mean, config.std):
        if len(values) != config.in_channels or not all(math.isfinite(value) for value in values):
            raise ValueError("mean and std are not one number a channel")
    if min(config.std) <= 0:
        raise ValueError("std is not above 0")


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class ClassificationParameters(Parameters):
    """Of image classification."""

    explain: bool = option(False, "also show which parts of the picture support the label")
    layers: bool = option(False, "also show what each block of the network makes of the picture")


class ImageClassification(Task):
    """Pictures to class probabilities.

    Output: `label`, `score` (its probability) and `scores` (every class's, highest first); with `explain` also
    `seen`, the picture as the network got it, and `heatmap`, Grad-CAM of the label: gray, 255 where the picture speaks
    most for it. Both are PNG as base64, in the size of the network's input. With `layers` also `filters`, those of the
    first layer, and `layers`: for each block its `title`, the `shape` of what leaves it, and its strongest `maps`; the
    pictures are PNG as base64.
    """

    name = "image-classification"
    inputs = {"image": True}
    parameters = ClassificationParameters
    requirements = ("torch", "pillow")

    def load(self) -> None:
        import torch

        from tasks.engines.devices import pick_device

        network, self.config = load_classifier(self.folder)
        device = pick_device(self.device)
        self.network = network.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.mean = torch.tensor(self.config.mean, device=device).view(-1, 1, 1)
        self.std = torch.tensor(self.config.std, device=device).view(-1, 1, 1)

    def prepare(self, image: Any) -> torch.Tensor:
        """One input to the network's normalized float32 `(channels, size, size)`."""
        return self.normalize(self.pixels(image))

    def pixels(self, image: Any, cancel: Cancel = never) -> torch.Tensor:
        """One input to uint8 `(channels, size, size)`: what the network gets to see."""
        config = self.config
        pixels = decode_image(image, config.in_channels, cancel, config.inverted)
        return to_image_size(pixels[None], config.image_size)[0]

    def check_total(self, rows: list[dict[str, Any]], cancel: Cancel) -> None:
        check_images([row["image"] for row in rows], cancel)

    def open_row(self, row: dict[str, Any], cancel: Cancel) -> dict[str, Any]:
        return {"image": self.pixels(row["image"], cancel)}

    def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels `(..., channels, h, w)` to what the network was trained on."""
        return (pixels.to(self.mean.device) / 255 - self.mean) / self.std

    def answer(self, rows: list[dict[str, Any]], parameters: dict[str, Any], cancel: Cancel) -> list[dict[str, Any]]:
        import torch

        size = EXPLAINED_AT_ONCE if parameters["explain"] else BATCH_SIZE
        size = max(1, size * IMAGE_SIZE**2 // self.config.image_size**2)
        results = []
        for start in range(0, len(rows), size):
            stop_if(cancel)
            seen = torch.stack([row["image"] for row in rows[start : start + size]])
            images = self.normalize(seen)
            with torch.inference_mode():
                answers = [self._describe(row) for row in self.network(images).float().softmax(dim=1).cpu()]
            if parameters["explain"]:
                heat = self._heat(images)
                extras = ({"seen": _png(seen[i]), "heatmap": _png(heat[i])} for i in range(len(seen)))
                answers = [{**answer, **extra} for answer, extra in zip(answers, extras, strict=True)]
            if parameters["layers"]:
                answers = [
                    {**answer, **self._layers(image[None])} for answer, image in zip(answers, images, strict=True)
                ]
            results += answers
        return results

    def _describe(self, probabilities: torch.Tensor) -> dict[str, Any]:
        order = probabilities.argsort(descending=True).tolist()
        scores = {self.config.classes[index]: float(probabilities[index]) for index in order}
        label = self.config.classes[order[0]]
        return {"label": label, "score": scores[label], "scores": scores}

    def _layers(self, image: torch.Tensor) -> dict[str, Any]:
        """What the blocks make of one image `(1, c, h, w)`."""
        from tasks.feature_maps import feature_maps, filter_mosaic, mosaic  # tracing is for those who ask

        config = self.config
        found = feature_maps(self.network, config.architecture, config.stem, len(config.classes), image)
        maps = [
            {"title": ", ".join([block.title, *block.parts]), "shape": list(one.shape), "maps": _png(mosaic(one))}
            for block, one in found
        ]
        return {"layers": maps, "filters": _png(filter_mosaic(self.network))}

    def _heat(self, images: torch.Tensor) -> torch.Tensor:
        """Grad-CAM of what the network predicts, uint8 `(n, 1, h, w)`."""
        import torch

        from tasks.explain import grad_cam

        with torch.inference_mode(False):  # the caller may be in inference mode, which has no gradients
            heat = grad_cam(self.network, images.clone())
        return (heat[:, None] * 255).round().to("cpu", torch.uint8)


def _png(pixels: torch.Tensor) -> str:
    """uint8 `(1 or 3, h, w)` as a PNG in base64."""
    buffer = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).squeeze(2).numpy()).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()
