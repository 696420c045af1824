"""What a CNN makes of a picture, block by block, and the filters of its first layer, as pictures.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014, showed what such maps can tell.
"""

from collections.abc import Callable

import torch
from torch import nn

from tasks.anatomy import Block, blocks, layers
from tasks.explain import first_layer_filters

MOST_MAPS, MOST_FILTERS = 16, 64
TILE = 48  # pixels a side, at least
GAP, GROUND = 2, 0


def feature_maps(
    network: nn.Module, architecture: str, stem: str, classes: int, images: torch.Tensor
) -> list[tuple[Block, torch.Tensor]]:
    """The maps that leave each block that has some, for one image.

    Args:
        network: as `models.build` makes it of the architecture, stem and number of classes, in eval mode.
        images: normalized float `(1, channels, height, width)`.

    Returns the blocks in the order in which they run, each with its maps, float `(maps, height, width)`.
    """
    channels, size = images.shape[1], images.shape[-1]
    found = blocks(layers(architecture, classes, channels, stem, size))
    seen: dict[str, torch.Tensor] = {}
    chosen: list[tuple[Block, str]] = []
    handles = []
    for block in found:
        spatial = [layer for layer in block.layers if len(layer.output) == 3]
        if spatial:
            name = spatial[-1].name
            chosen.append((block, name))
            handles.append(network.get_submodule(name).register_forward_hook(_keeper(seen, name)))
    try:
        with torch.inference_mode():
            network(images)
    finally:
        for handle in handles:
            handle.remove()
    return [(block, seen[name]) for block, name in chosen]


def _keeper(seen: dict[str, torch.Tensor], name: str) -> Callable[[nn.Module, object, torch.Tensor], None]:
    def keep(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        seen[name] = output[0].float().cpu().clone()  # what follows may write into it

    return keep


def mosaic(maps: torch.Tensor) -> torch.Tensor:
    """The strongest maps side by side, each from its darkest to its brightest value.

    Args: maps: float `(maps, height, width)`.

    Returns uint8 `(1, height, width)`: the strongest first, at most 16.
    """
    strongest = maps.flatten(1).abs().mean(dim=1).argsort(descending=True, stable=True)[:MOST_MAPS]
    chosen = maps[strongest]
    low = chosen.amin(dim=(1, 2), keepdim=True)
    span = (chosen.amax(dim=(1, 2), keepdim=True) - low).clamp_min(1e-12)
    return _tiled(((chosen - low) / span)[:, None])


def filter_mosaic(network: nn.Module) -> torch.Tensor:
    """The filters of the first layer side by side, at most 64; uint8 `(1 or 3, height, width)`, gray is zero."""
    filters = first_layer_filters(network)[:MOST_FILTERS].float().cpu()
    return _tiled(filters / filters.abs().amax().clamp_min(1e-12) / 2 + 0.5)


def _tiled(tiles: torch.Tensor) -> torch.Tensor:
    """Tiles `(n, c, h, w)` from 0 to 1 in a grid as nearly square as may be, enlarged without smoothing."""
    scale = -(-TILE // tiles.shape[-1])
    large = (tiles * 255).round().to(torch.uint8).repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    columns = min(len(large), 8) if len(large) > MOST_MAPS else min(len(large), 4)
    rows = -(-len(large) // columns)
    height, width = large.shape[-2] + GAP, large.shape[-1] + GAP
    picture = torch.full((large.shape[1], rows * height - GAP, columns * width - GAP), GROUND, dtype=torch.uint8)
    for index, tile in enumerate(large):
        top, left = index // columns * height, index % columns * width
        picture[:, top : top + height - GAP, left : left + width - GAP] = tile
    return picture
