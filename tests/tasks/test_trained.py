"""The folder of a network that was trained here: read as it was saved; one that is not what it says runs nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

import models
from tasks import describe_folder, open_task
from tasks.base import ModelFolderError
from tasks.image_classification import ClassifierConfig, load_classifier
from tasks.trained import save_network
from tests.support.model_folders import Evil, evil_bytes

CONFIG = ClassifierConfig("lenet5", "small", 1, tuple("0123456789"), (0.3,), (0.4,))


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    return models.build("lenet5", 10, in_channels=1)


@pytest.fixture
def folder(tmp_path: Path, network: torch.nn.Module) -> Path:
    """A model's folder as a training leaves it."""
    path = tmp_path / "model"
    save_network(path, network, CONFIG)
    describe_folder(path, "image-classification", "cnn-digits")
    return path


def refusal(folder: Path) -> str:
    """How this folder is refused."""
    with pytest.raises(ModelFolderError) as caught:
        open_task(folder, "cpu").load()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def change_tensors(weights: Path, **changes: torch.Tensor | None) -> None:
    """Replace tensors in a file of weights; None takes one out."""
    tensors = {**safetensors.torch.load_file(weights), **changes}
    safetensors.torch.save_file({name: value for name, value in tensors.items() if value is not None}, weights)


def test_weights_are_read_bit_for_bit(folder: Path, network: torch.nn.Module) -> None:
    loaded, config = load_classifier(folder)
    assert config == CONFIG and not loaded.training
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)


def test_a_pickle_named_safetensors_is_refused_and_runs_nothing(folder: Path, tmp_path: Path) -> None:
    marker = tmp_path / "code-ran"
    torch.save({"features.0.weight": Evil(marker)}, folder / "model.safetensors")
    assert "model.safetensors" in refusal(folder)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["model.py", "MODEL.PKL"])  # others: hub/test_checks.py
def test_a_folder_with_anything_that_could_run_is_refused_and_runs_nothing(
    folder: Path, tmp_path: Path, name: str
) -> None:
    marker = tmp_path / "code-ran"
    (folder / name).write_bytes(evil_bytes(name, marker))
    assert name in refusal(folder)
    assert not marker.exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff", b"[]", b"3", b"null", b'"text"', b"{}", b'{"architecture": "lenet5"}', b'{"surplus": 1}',
     b"[" * 100_000, b'{"classes": ' + b"9" * 5000 + b"}"],
    ids=lambda content: str(content)[:20],
)  # fmt: skip
def test_a_config_that_is_none_is_named(folder: Path, content: bytes) -> None:
    (folder / "config.json").write_bytes(content)
    assert "config.json" in refusal(folder)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("architecture", "nonsense"),
        ("architecture", ["lenet5"]),
        ("stem", "imagenet"),
        ("in_channels", 2),
        ("in_channels", None),
        ("classes", None),
        ("classes", []),
        ("mean", None),
        ("mean", [0.1, 0.2, 0.3]),
        ("std", []),
        ("std", ["wide"]),
        ("std", [0.0]),
    ],
)
def test_a_config_with_a_wrong_field_is_named(folder: Path, name: str, value: Any) -> None:
    fields = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**fields, name: value}))
    assert "config.json" in refusal(folder)


DAMAGES: dict[str, Callable[[Path], Any]] = {
    "removed": Path.unlink,
    "truncated": lambda weights: weights.write_bytes(weights.read_bytes()[:-5]),
    "empty": lambda weights: weights.write_bytes(b""),
    "without a tensor": lambda weights: change_tensors(weights, **{"classifier.4.bias": None}),
    "of another shape": lambda weights: change_tensors(weights, **{"classifier.4.bias": torch.zeros(7)}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_weights_that_do_not_fit_are_named(folder: Path, damage: str) -> None:
    DAMAGES[damage](folder / "model.safetensors")
    assert "model.safetensors" in refusal(folder)


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"[]",
        b"3",
        b"{}",
        b'{"task": "nonsense", "model": "m"}',
        b'{"task": ["a"], "model": "m"}',
        b'{"task": "image-classification"}',
        b"\xff",
        b"[" * 100_000,
    ],
    ids=lambda content: str(content)[:20],
)
def test_a_folder_that_does_not_say_its_task_is_refused(folder: Path, content: bytes | None) -> None:
    (folder / "task.json").unlink()
    if content is not None:
        (folder / "task.json").write_bytes(content)
    assert "task.json" in refusal(folder)
