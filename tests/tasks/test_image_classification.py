"""A trained network as a task: opened, asked, explained."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import models
from experiments.cnn.augmentation import Normalize, evaluation_batches
from experiments.data.images import ImageData, Subset, load_images
from experiments.data.sources import load_raw
from tasks import describe_folder, open_task
from tasks.base import Task, TaskInputError
from tasks.explain import grad_cam
from tasks.image_classification import ClassifierConfig
from tasks.images import to_image_size
from tasks.runtime.worker import Worker
from tasks.trained import save_network


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load_images("digits")


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    network = models.build("lenet5", 10, in_channels=1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)  # sharper answers than those of a fresh network
    return network.eval()


def config(digits: ImageData, **changes: Any) -> ClassifierConfig:
    fields = {
        "architecture": "lenet5",
        "stem": "small",
        "in_channels": 1,
        "classes": digits.classes,
        "mean": digits.mean,
        "std": digits.std,
    }
    return ClassifierConfig(**{**fields, **changes})


@pytest.fixture
def folder(tmp_path: Path, network: torch.nn.Module, digits: ImageData) -> Path:
    """A model's folder as a training leaves it."""
    path = tmp_path / "model"
    save_network(path, network, config(digits))
    describe_folder(path, "image-classification", "cnn-digits")
    return path


def png(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def opened(folder: Path) -> Task:
    task = open_task(folder, device="cpu")
    task.load()
    return task


def test_answers_are_the_networks_own_for_images_of_the_data_set(
    folder: Path, network: torch.nn.Module, digits: ImageData
) -> None:
    raw = load_raw("digits", "data")
    results = opened(folder).run([{"image": png(image[..., 0])} for image in raw.train_images[:40]])
    everything = to_network(raw.train_images[:40], digits)
    with torch.no_grad():
        expected = network(everything).softmax(dim=1)
    for result, probabilities in zip(results, expected, strict=True):
        given = torch.tensor([result["scores"][name] for name in digits.classes])
        torch.testing.assert_close(given, probabilities, rtol=1e-4, atol=1e-6)
        assert result["label"] == digits.classes[int(probabilities.argmax())]
        assert result["score"] == max(result["scores"].values())
        assert list(result["scores"].values()) == sorted(result["scores"].values(), reverse=True)
        assert result["model"] == "cnn-digits"
    assert len({result["label"] for result in results}) > 1


def to_network(images: np.ndarray, digits: ImageData) -> torch.Tensor:
    """What the training gives to the network for these images, through the training's own code."""
    pixels = to_image_size(torch.from_numpy(images).permute(0, 3, 1, 2))
    data = Subset(pixels, torch.zeros(len(pixels), dtype=torch.int64))
    [batch] = evaluation_batches(data, Normalize(digits.mean, digits.std, "cpu"))
    return batch.images


def test_a_picture_gives_the_same_answer_alone_in_company_and_as_rows(folder: Path) -> None:
    task = opened(folder)
    images = [image[..., 0] for image in load_raw("digits", "data").train_images[:5]]
    together = task.run([{"image": png(image)} for image in images])
    for image, result in zip(images, together, strict=True):
        for sent in (png(image), image.tolist()):
            [alone] = task.run([{"image": sent}])
            assert alone["label"] == result["label"]
            assert alone["scores"] == pytest.approx(result["scores"], rel=1e-4, abs=1e-6)


def decoded(given: str, mode: str = "L") -> np.ndarray:
    picture = Image.open(io.BytesIO(base64.b64decode(given)))
    assert (picture.format, picture.mode, picture.size) == ("PNG", mode, (32, 32))
    return np.asarray(picture)


def test_explained_answers_are_the_same_with_the_heat_of_the_predicted_class(
    folder: Path, network: torch.nn.Module, digits: ImageData
) -> None:
    task = opened(folder)
    raw = load_raw("digits", "data").train_images[:20]  # more than are explained at once
    rows = [{"image": png(image[..., 0])} for image in raw]
    plain, explained = task.run(rows), task.run(rows, {"explain": True})
    images = to_network(raw, digits)
    heats = grad_cam(network, images, network(images).argmax(dim=1))
    seen = to_image_size(torch.from_numpy(raw).permute(0, 3, 1, 2))[:, 0].numpy()
    for without, result, heat, pixels in zip(plain, explained, heats, seen, strict=True):
        assert not without.keys() & {"heatmap", "seen"}
        assert result["label"] == without["label"]
        assert result["scores"] == pytest.approx(without["scores"], rel=1e-3, abs=1e-6)
        assert np.array_equal(decoded(result["seen"]), pixels)
        # Rounded to whole steps, after sums in another order.
        np.testing.assert_allclose(decoded(result["heatmap"]), heat.numpy() * 255, atol=1)
    assert len({result["heatmap"] for result in explained}) > 10


def test_it_explains_inside_inference_code_and_leaves_no_gradients(folder: Path) -> None:
    task = opened(folder)
    row = {"image": load_raw("digits", "data").train_images[0][..., 0].tolist()}
    with torch.inference_mode():
        [inside] = task.run([row], {"explain": True})
    [outside] = task.run([row], {"explain": True})
    assert inside["heatmap"] == outside["heatmap"]
    assert all(parameter.grad is None for parameter in task.network.parameters())


def test_one_worker_explains_too(folder: Path) -> None:
    def load(_key: str) -> Task:
        return opened(folder)

    row = {"image": load_raw("digits", "data").train_images[0][..., 0].tolist()}
    with Worker(load, 10**9) as worker:
        result = worker.submit("cnn", row, {"explain": True}).result(30)
    json.dumps(result)  # as the gateway sends it
    assert decoded(result["heatmap"]).max() == 255


def test_any_picture_is_taken_by_a_gray_and_by_a_color_network(tmp_path: Path, digits: ImageData) -> None:
    for channels in (1, 3):
        path = tmp_path / str(channels)
        shape = {"in_channels": channels, "mean": (0.5,) * channels, "std": (0.25,) * channels, "classes": ("a", "b")}
        save_network(path, models.build("lenet5", 2, channels), config(digits, **shape))
        describe_folder(path, "image-classification", "cnn")
        for picture in (np.zeros((50, 20), np.uint8), np.zeros((28, 28, 3), np.uint8), np.zeros((9, 9, 4), np.uint8)):
            [result] = opened(path).run([{"image": png(picture)}], {"explain": True})
            assert decoded(result["seen"], "L" if channels == 1 else "RGB").shape[:2] == (32, 32)
            assert sum(result["scores"].values()) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("rows", "parameters", "expected"),
    [
        ([{"image": "nonsense!"}], None, "image is not valid base64"),
        ([{"picture": "x"}], None, "column 'image' is missing; image-classification takes image"),
        ([{"image": None}], None, r"image is empty .None."),
        ([{"image": 3}], None, "image is neither text nor rows of pixels"),
        ([], None, "0 rows; valid: 1 to"),
        ([{"image": [[0]]}], {"top_k": 3}, "unknown parameter 'top_k'; valid: explain"),
        ([{"image": [[0]]}], {"explain": "yes"}, "explain is 'yes'; valid: true or false"),
        ([{"image": [[0]]}, {"image": [[-1]]}], None, "image has pixels outside 0 to 255"),
    ],
)
def test_what_cannot_be_answered_is_refused(folder: Path, rows: Any, parameters: Any, expected: str) -> None:
    with pytest.raises(TaskInputError, match=expected):
        opened(folder).run(rows, parameters)


def test_dark_strokes_on_transparency_are_what_the_network_was_trained_on(folder: Path, digits: ImageData) -> None:
    task = open_task(folder, "cpu")
    task.load()
    strokes = digits.test.images[:20, 0].numpy()
    for light in strokes:
        dark = np.zeros((*light.shape, 4), np.uint8)
        dark[..., 3] = light
        [seen] = task.run([{"image": png(dark)}])
        [known] = task.run([{"image": png(light)}])
        assert seen["scores"] == known["scores"]


@pytest.mark.parametrize(
    ("mean", "dark", "channels", "inverted"),
    [
        (0.3, None, 1, True),  # as models were saved before they said so
        (0.5, None, 1, False),
        (0.449, True, 1, True),  # ImageNet's mean, of pretrained weights that were trained on digits
        (0.3, False, 1, False),
        (0.3, True, 3, False),
    ],
)
def test_drawings_are_inverted_for_networks_of_light_strokes_whatever_they_normalize_by(
    digits: ImageData, mean: float, dark: bool | None, channels: int, inverted: bool
) -> None:
    made = config(digits, mean=(mean,) * channels, in_channels=channels, light_on_dark=dark)
    assert made.inverted == inverted
