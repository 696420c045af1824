"""Folders of diffusion models: what they suggest is used; what is damaged, missing, code or elsewhere is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from tasks.base import ModelFolderError
from tests.support.tiny_diffusion import make, opened, pixels, save, tiny_stable_diffusion


@pytest.fixture
def copy(tiny_sd: Path, tmp_path: Path) -> Path:
    """A folder that a test may spoil."""
    return Path(shutil.copytree(tiny_sd, tmp_path / "copy"))


def rewrite(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_model_for_few_steps_is_recognized(copy: Path) -> None:
    rewrite(copy / "scheduler/scheduler_config.json", timestep_spacing="trailing")
    task = opened(copy)
    assert (task.suggested["steps"], task.suggested["guidance"]) == (2, 0.0)
    row = make(task, steps=None)
    assert row["steps"] == 2
    assert np.array_equal(pixels(row), pixels(make(task, steps=2, guidance=0)))


def test_a_folder_may_suggest_defaults(copy: Path) -> None:
    (copy / "generation_defaults.json").write_text('{"steps": 3, "guidance": 1.5, "width": 72}')
    task = opened(copy)
    assert task.suggested == {"steps": 3, "guidance": 1.5, "width": 72, "height": 64}
    row = make(task, steps=None)
    assert (row["steps"], row["width"], row["height"]) == (3, 72, 64)
    assert make(task, steps=1)["steps"] == 1


def test_words_that_a_model_does_not_understand_are_named(copy: Path) -> None:
    assert "unknown" not in make(opened(copy), steps=1)
    (copy / "generation_defaults.json").write_text('{"steps": 2, "words": ["a", "dog"]}')
    task = opened(copy)
    assert task.suggested["steps"] == 2
    [known, row] = task.run([{"prompt": "A dog."}, {"prompt": "A red dog, Red cat"}], {"steps": 1, "guidance": 2})
    assert "unknown" not in known and row["unknown"] == ["red", "Red", "cat"]
    [row] = task.run([{"prompt": "a dog 😀"}], {"steps": 1, "guidance": 2, "negative_prompt": "blurry"})
    assert row["unknown"] == ["😀", "blurry"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"words": 3}',
        "3",
        '{"strength": 0.5}',
        '{"steps": 0}',
        '{"steps": "3"}',
        '{"width": 65}',
        '{"color": 1}',
        '{"guidance": NaN}',
        "[" * 100_000,
        '{"steps": ' + "[" * 100_000,
    ],
    ids=lambda content: str(content)[:20],
)
def test_suggestions_that_cannot_be_used_are_named(copy: Path, content: str) -> None:
    (copy / "generation_defaults.json").write_text(content)
    with pytest.raises(ModelFolderError, match=r"generation_defaults\.json cannot be used: "):
        opened(copy)


def lose_a_tensor(weights: Path) -> None:
    tensors = safetensors.torch.load_file(weights)
    tensors.pop(max(tensors))
    safetensors.torch.save_file(tensors, weights, {"format": "pt"})


def reshape(weights: Path) -> None:
    tensors = safetensors.torch.load_file(weights)
    safetensors.torch.save_file({**tensors, max(tensors): torch.zeros(7)}, weights, {"format": "pt"})


def truncate(weights: Path) -> None:
    weights.write_bytes(weights.read_bytes()[:-5])


@pytest.mark.parametrize("damage", [lose_a_tensor, reshape, truncate, Path.unlink])
@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_weights_that_do_not_fit_are_refused_in_one_line(copy: Path, part: str, damage: Any) -> None:
    [weights] = (copy / part).glob("*.safetensors")
    damage(weights)
    with pytest.raises(ModelFolderError, match=r"lacks? |does not hold a model") as caught:
        opened(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [lose_a_tensor, truncate, Path.unlink])
def test_a_damaged_safety_checker_is_not_left_out(tmp_path: Path, damage: Any) -> None:
    folder = save(tiny_stable_diffusion(flags=True), tmp_path / "model")
    damage(folder / "safety_checker/model.safetensors")
    with pytest.raises(ModelFolderError, match="does not hold a safety checker"):
        opened(folder)


@pytest.mark.parametrize("name", ["tokenizer/tokenizer.json", "scheduler/scheduler_config.json", "unet/config.json"])
@pytest.mark.parametrize(
    "content", [None, b"", b"[]", b"\xff", b'{"a": ' * 100_000], ids=lambda content: str(content)[:20]
)
def test_a_missing_or_damaged_file_is_refused_in_one_line(copy: Path, name: str, content: bytes | None) -> None:
    (copy / name).unlink()
    if content is not None:
        (copy / name).write_bytes(content)
    with pytest.raises(ModelFolderError, match=r"can be loaded|does not fit|not hold an object") as caught:
        opened(copy)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["[]", '"somebody/model"', "3"])
@pytest.mark.parametrize("name", ["scheduler/scheduler_config.json", "unet/config.json"])
def test_a_configuration_that_would_be_looked_for_on_the_hub_is_refused(copy: Path, name: str, content: str) -> None:
    (copy / name).write_text(content)
    with pytest.raises(ModelFolderError, match=f"{Path(name).name} does not hold an object"):
        opened(copy)


@pytest.mark.parametrize(
    "change",
    [
        {"_class_name": "FluxPipeline"},
        {"_class_name": ["pipeline", "Evil"]},
        {"unet": ["diffusers", "AutoModel"]},
        {"unet": ["os", "UNet2DConditionModel"]},
        {"unet": ["../unet", "UNet2DConditionModel"]},
        {"unet": ["diffusers"]},
        {"text_encoder": ["transformers", "AutoModel"]},
        {"scheduler": ["diffusers", "DiffusionPipeline"]},
        {"extra": ["diffusers", "UNet2DConditionModel"]},
    ],
    ids=str,
)
def test_an_index_that_names_anything_else_is_refused(copy: Path, change: dict[str, Any]) -> None:
    rewrite(copy / "model_index.json", **change)
    with pytest.raises(ModelFolderError, match=r"model_index\.json cannot be used"):
        opened(copy)


@pytest.mark.parametrize(
    "change",
    [{"safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"]}, {"unet": [None, None]}, {"vae": None}],
    ids=str,
)
def test_an_index_that_does_not_fit_the_folder_is_refused(copy: Path, change: dict[str, Any]) -> None:
    rewrite(copy / "model_index.json", **change)
    with pytest.raises(ModelFolderError, match=r"does not hold|safety_checker/config\.json cannot be read"):
        opened(copy)


@pytest.mark.parametrize(
    "content", [None, b"", b"[]", b"3", b"\xff", b"{}", b"[" * 100_000], ids=lambda content: str(content)[:20]
)
def test_an_index_that_is_none_is_named(copy: Path, content: bytes | None) -> None:
    (copy / "model_index.json").unlink()
    if content is not None:
        (copy / "model_index.json").write_bytes(content)
    with pytest.raises(ModelFolderError, match=r"model_index\.json cannot be used"):
        opened(copy)


@pytest.mark.parametrize("name", ["pipeline.py", "unet/diffusers.py", "unet/x.pkl", "x.pt"])
def test_pickles_and_code_in_the_folder_are_refused_and_run_nothing(copy: Path, tmp_path: Path, name: str) -> None:
    marker = tmp_path / "code-ran"
    (copy / name).write_text(f"import os; os.mkdir({str(marker)!r})")
    with pytest.raises(ModelFolderError, match=Path(name).name):
        opened(copy)
    assert not marker.exists()


def test_pickles_beside_the_weights_are_passed_over(copy: Path) -> None:
    for name in ("unet/diffusion_pytorch_model.bin", "text_encoder/pytorch_model.bin", "v1-5.ckpt"):
        (copy / name).write_bytes(b"for other programs")
    assert make(opened(copy))["finish_reason"] == "stop"


@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"])
@pytest.mark.parametrize("name", ["weights.txt", "../vae/out.bin", "../../out.safetensors"])
def test_an_index_of_weights_that_leads_elsewhere_is_refused(copy: Path, part: str, name: str) -> None:
    weights = copy / f"{part}.safetensors"
    index = {"metadata": {}, "weight_map": dict.fromkeys(safetensors.torch.load_file(weights), name)}
    weights.rename(weights.parent / name)
    (copy / f"{part}.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(ModelFolderError, match=r"index\.json names"):
        opened(copy)


def test_a_safety_checker_from_elsewhere_is_refused(tmp_path: Path) -> None:
    folder = save(tiny_stable_diffusion(flags=True), tmp_path / "model")
    (folder / "safety_checker/model.safetensors").rename(folder / "safety_checker/adapter_model.bin")
    rewrite(folder / "safety_checker/config.json", transformers_weights="adapter_model.bin")
    with pytest.raises(ModelFolderError, match="names weights elsewhere"):
        opened(folder)


def test_a_folder_that_is_called_as_a_configuration_is_passed_over(copy: Path) -> None:
    (copy / "unet" / "old_config.json").mkdir()
    opened(copy)


def test_weights_elsewhere_are_refused(copy: Path, tmp_path: Path) -> None:
    (copy / "vae").rename(tmp_path / "vae")
    (copy / "vae").symlink_to(tmp_path / "vae")
    with pytest.raises(ModelFolderError, match="points out of the model's folder"):
        opened(copy)
