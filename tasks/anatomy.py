"""What a CNN is made of: its layers with shapes, parameters, FLOPs and receptive fields; and what they see.

The layers come from tracing the network (torch.fx) and running the trace on the meta device, which computes shapes and
no numbers: the weights of a large network take no memory.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import fx, nn
from torch.utils.flop_counter import FlopCounterMode

import models

WHOLE = math.inf
"""The receptive field of a unit that sees all pixels by construction: behind a global mean or a linear layer."""

FUNCTIONS = {
    "add": "sum with the shortcut",
    "mul": "channels scaled by their gates",
    "mean": "mean over all pixels",
    "flatten": "flatten",
}
WINDOWED = (nn.Conv2d, nn.MaxPool2d, nn.AvgPool2d)


@dataclass(frozen=True)
class Layer:
    """One step of a network.

    Attributes:
        name: its module's path; of a function, such as a sum, that of the module which calls it.
        kind: what it is, such as `3 x 3 convolution, stride 2`.
        output: its shape without the batch: `(channels, height, width)` or `(features,)`.
        flops: of one image; a multiplication and an addition are two.
        receptive_field: how many pixels of the image, a side, one unit of it depends on; `WHOLE` for all.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    flops: int
    receptive_field: float


def family(architecture: str) -> str:
    """The family of a network that `models.build` knows, such as `resnet`; the file of `models/` that it is in."""
    return models.ARCHITECTURES[architecture].family


def stems(architecture: str) -> tuple[str, ...]:
    """The kinds of input that a network exists for: `small`, `imagenet`."""
    return models.ARCHITECTURES[architecture].stems


def layers(architecture: str, classes: int, channels: int, stem: str = "small", size: int = 32) -> list[Layer]:
    """The layers of a network that `models.build` knows, in the order in which they run.

    Args: size: height and width of the images, in pixels.

    Raises ValueError as `models.build` does.
    """
    with torch.device("meta"):
        network = models.build(architecture, classes, channels, stem).eval()
        trace = _Trace(fx.symbolic_trace(network))
        trace.run(torch.empty(1, channels, size, size))
    return trace.layers


class _Trace(fx.Interpreter):
    """Runs a traced network and notes each layer."""

    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network)
        self.layers: list[Layer] = []
        self._seen: dict[fx.Node, tuple[float, float]] = {}  # receptive field and distance of neighboring units, pixels

    def run_node(self, n: fx.Node) -> Any:
        with FlopCounterMode(display=False) as counter:
            result = super().run_node(n)
        module = self.fetch_attr(str(n.target)) if n.op == "call_module" else None
        before = [self._seen[one] for one in n.all_input_nodes] or [(1.0, 1.0)]
        field, step = min(before) if _function(n) == "mul" else max(before)  # gates see everything: they are left aside
        if isinstance(module, WINDOWED):
            kernel, stride = _side(module.kernel_size), _side(module.stride)
            dilation = _side(getattr(module, "dilation", 1))
            field, step = field + (kernel - 1) * dilation * step, step * stride
        elif isinstance(module, (nn.Linear, nn.AdaptiveAvgPool2d)) or _function(n) == "mean":
            field = WHOLE
        self._seen[n] = (field, step)
        kind = _kind(module) if module is not None else FUNCTIONS.get(_function(n), "")
        if kind and isinstance(result, torch.Tensor):
            parameters = sum(one.numel() for one in module.parameters()) if module is not None else 0
            name = str(n.target) if module is not None else next(reversed(n.meta.get("nn_module_stack", {"": ""})))
            shape = tuple(result.shape[1:])
            self.layers.append(Layer(name, kind, shape, parameters, counter.get_total_flops(), field))
        return result


def _function(node: fx.Node) -> str:
    return str(getattr(node.target, "__name__", node.target)) if node.op in ("call_function", "call_method") else ""


def _side(value: int | tuple[int, ...]) -> int:
    return value if isinstance(value, int) else value[0]


def _kind(module: nn.Module) -> str:
    """A layer as a paper names it; empty for what does nothing."""
    if isinstance(module, WINDOWED):
        kernel, stride = _side(module.kernel_size), _side(module.stride)
        if not isinstance(module, nn.Conv2d):
            pooling = "max-pooling" if isinstance(module, nn.MaxPool2d) else "average pooling"
            return f"{kernel} x {kernel} {pooling}" + (f", stride {stride}" if stride != kernel else "")
        depthwise = module.groups == module.in_channels > 1
        groups = ", depthwise" if depthwise else f", {module.groups} groups" if module.groups > 1 else ""
        return f"{kernel} x {kernel} convolution" + (f", stride {stride}" if stride > 1 else "") + groups
    if isinstance(module, nn.Linear):
        return "fully connected"
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return "average pooling to a fixed size"
    if isinstance(module, nn.BatchNorm2d):
        return "batch norm"
    if isinstance(module, nn.Dropout):
        return f"dropout {module.p:g}" if module.p else ""
    return "" if isinstance(module, nn.Identity) else type(module).__name__


@dataclass(frozen=True)
class Block:
    """Layers that belong together: a residual block, or a layer with weights and what follows it.

    Attributes:
        layers: of the last one, where it repeats.
        times: how often, in a row.
    """

    layers: tuple[Layer, ...]
    times: int

    @property
    def output(self) -> tuple[int, ...]:
        """The shape that leaves it."""
        return self.layers[-1].output

    @property
    def residual(self) -> bool:
        """Whether its input, or a projection of it, is added to its output."""
        return any(layer.kind == FUNCTIONS["add"] for layer in self.layers)

    @property
    def title(self) -> str:
        """What it is."""
        return "residual block" if self.residual else self.layers[0].kind

    @property
    def parts(self) -> list[str]:
        """What it does, without what every residual block does."""
        if not self.residual:
            return [layer.kind for layer in self.layers[1:]]
        inside = [layer.kind for layer in self.layers if has_weights(layer) and layer.kind != "fully connected"]
        gates = ["gates for the channels"] if any(one.kind == FUNCTIONS["mul"] for one in self.layers) else []
        return [*inside, *gates, "+ shortcut"]


def blocks(found: Sequence[Layer]) -> list[Block]:
    """Layers as blocks, those that repeat counted: what a figure of a paper shows."""
    homes = _residual_blocks(found)
    parts: list[list[Layer]] = []
    for index, (layer, home) in enumerate(zip(found, homes, strict=True)):
        new_home = index == 0 or home != homes[index - 1]
        if new_home or (not home and has_weights(layer)):
            parts.append([])
        parts[-1].append(layer)
    alike = groupby(parts, key=lambda part: [(one.kind, one.output) for one in part])
    return [Block(tuple(same[-1]), len(same)) for same in (list(group) for _, group in alike)]


def _residual_blocks(found: Sequence[Layer]) -> list[str]:
    """For each layer the path of the residual block that it is in, or nothing."""
    paths = [layer.name for layer in found if layer.kind == FUNCTIONS["add"]]
    homes = [
        next((path for path in paths if layer.name == path or layer.name.startswith(f"{path}.")), "") for layer in found
    ]
    for index, layer in enumerate(found[1:], 1):  # a ReLU right behind the sum, too
        if layer.kind == "ReLU" and not homes[index] and found[index - 1].kind == FUNCTIONS["add"]:
            homes[index] = homes[index - 1]
    return homes


def has_weights(layer: Layer) -> bool:
    """Whether the names of networks count it: a convolution or a linear layer."""
    return layer.kind.split(",")[0].endswith("convolution") or layer.kind == "fully connected"
