"""What networks are made of, against published numbers."""

from pathlib import Path

import pytest
import torch

import models
from tasks.anatomy import WHOLE, blocks, family, has_weights, layers, stems


def receptive_field(found) -> float:
    return max(layer.receptive_field for layer in found if layer.receptive_field != WHOLE)


# FLOPs: multiply-adds as torchvision's `_ops` has them. Receptive fields: Araujo, Norris and Sim, "Computing Receptive
# Fields of Convolutional Neural Networks", Distill 2019, table 1; ResNet-50 there strides on the first 1 x 1 (483).
@pytest.mark.parametrize(
    ("name", "gigaflops", "field", "depth"),
    [("alexnet", 0.714, 195, 8), ("vgg16", 15.47, 212, 16), ("resnet18", 1.814, 435, 18), ("resnet50", 4.089, 427, 50)],
)
def test_costs_and_receptive_fields_are_those_of_the_papers(
    name: str, gigaflops: float, field: int, depth: int
) -> None:
    found = layers(name, 1000, 3, "imagenet", 224)
    assert sum(layer.flops for layer in found) / 2e9 == pytest.approx(gigaflops, rel=1e-3)
    assert receptive_field(found) == field
    projections = sum("stride 2" in layer.kind and layer.kind.startswith("1 x 1") for layer in found)
    first = name == "resnet50"  # whose first shortcut changes the channels only
    assert sum(map(has_weights, found)) - projections - first == depth


@pytest.mark.parametrize("name", models.ARCHITECTURES)
def test_every_network_can_be_looked_into(name: str) -> None:
    stem = stems(name)[-1]
    found = layers(name, 10, 3, stem)
    network = models.build(name, 10, 3, stem)
    assert sum(layer.parameters for layer in found) == sum(one.numel() for one in network.parameters())
    assert found[-1].output == (10,) and receptive_field(found) >= 14
    assert sum(len(block.layers) * block.times for block in blocks(found)) == len(found)
    assert len(blocks(found)) <= 14  # a figure, not a list
    assert Path(models.__file__).with_name(f"{family(name)}.py").is_file()


def test_shapes_are_those_that_the_network_gives() -> None:
    found = layers("lenet5", 10, 1)
    network, shapes = models.build("lenet5", 10, 1).eval(), []
    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(lambda _module, _given, result: shapes.append(tuple(result.shape[1:])))
    network(torch.zeros(1, 1, 32, 32))
    assert [layer.output for layer in found if layer.kind != "flatten"] == shapes


def test_blocks_are_those_of_the_papers_figures() -> None:
    found = blocks(layers("resnet20", 10, 3))
    assert [block.times for block in found if block.residual] == [3, 1, 2, 1, 2]
    assert [block.output for block in found if block.residual][-1] == (64, 8, 8)
    gates = [block for block in blocks(layers("seresnet20", 10, 3)) if block.residual]
    assert all("channels scaled by their gates" in [layer.kind for layer in block.layers] for block in gates)


def test_the_trace_is_not_left_on_the_meta_device() -> None:
    layers("lenet5", 10, 1)
    assert torch.empty(1).device.type == "cpu"
