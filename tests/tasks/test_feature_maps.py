"""What the blocks of a trained network make of a picture."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import models
from tasks import open_task
from tasks.feature_maps import feature_maps, filter_mosaic, mosaic
from tasks.image_classification import ClassifierConfig
from tasks.trained import save_network


def opened(png: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))))


@pytest.mark.parametrize("name", ["lenet5", "seresnet20", "xception_small"])
def test_the_maps_are_those_that_the_blocks_give(name: str) -> None:
    torch.manual_seed(0)
    network = models.build(name, 10, 3).eval()
    image = torch.randn(1, 3, 32, 32)
    before = network(image)
    found = feature_maps(network, name, "small", 10, image)
    assert all(
        tuple(maps.shape) == [one for one in block.layers if len(one.output) == 3][-1].output for block, maps in found
    )
    last = network.get_submodule("features")(image)[0]
    if name != "lenet5":
        torch.testing.assert_close(found[-1][1], last)
    torch.testing.assert_close(network(image), before)  # no hook is left


def test_a_mosaic_shows_the_strongest_maps_first() -> None:
    maps = torch.zeros(20, 4, 4)
    maps[7, 0, 0], maps[3, 1, 1] = 5.0, 2.0
    picture = mosaic(maps)[0]
    assert picture.shape == (4 * 48 + 3 * 2, 4 * 48 + 3 * 2) and picture.dtype == torch.uint8
    assert picture[0, 0] == 255 and picture[0, 50 + 12] == 0 and picture[12, 50 + 12] == 255


def test_filters_keep_their_color_and_zero_is_gray() -> None:
    network = models.build("resnet20", 10, 3)
    with torch.no_grad():
        weight = next(network.parameters())
        weight.zero_()[0, 0] = 1.0
    picture = filter_mosaic(network)
    assert picture.shape[0] == 3 and picture[:, 0, 0].tolist() == [255, 128, 128]


def test_the_task_gives_them_when_asked(tmp_path: Path) -> None:
    config = ClassifierConfig("lenet5", "small", 1, tuple("0123456789"), (0.5,), (0.5,))
    save_network(tmp_path, models.build("lenet5", 10, 1), config)
    (tmp_path / "task.json").write_text('{"task": "image-classification", "model": "lenet5"}')
    task = open_task(tmp_path, "cpu")
    task.load()
    row = {"image": [[0, 255], [255, 0]]}
    [plain] = task.run([row])
    assert "layers" not in plain
    [result] = task.run([row], {"layers": True})
    assert [one["shape"] for one in result["layers"]] == [[6, 14, 14], [16, 5, 5]]
    assert result["layers"][0]["title"] == "5 x 5 convolution, 2 x 2 max-pooling, ReLU"
    assert opened(result["layers"][0]["maps"]).ndim == 2 and opened(result["filters"]).ndim == 2
