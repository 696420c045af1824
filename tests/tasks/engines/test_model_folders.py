"""Folders of language models: loaded as they were saved; those that are damaged or could run are refused in a line."""

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from tasks.base import ModelFolderError
from tasks.engines.loading import load_model, load_tokenizer
from tests.support.model_folders import Evil, evil_bytes
from tests.support.tiny_models import opened

CPU = torch.device("cpu")


def sentence(error: pytest.ExceptionInfo[ModelFolderError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", ["modeling_tiny.py", "sub/model.pt"])  # the others: test_checks.py
def test_a_folder_with_pickles_or_code_is_refused_and_runs_nothing(folder: Path, tmp_path: Path, name: str) -> None:
    marker = tmp_path / "ran"
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(evil_bytes(name, marker))
    with pytest.raises(ModelFolderError, match=Path(name).name):
        opened(folder, "story-completion")
    assert not marker.exists()


def test_a_pickle_named_safetensors_is_refused_and_runs_nothing(folder: Path, tmp_path: Path) -> None:
    torch.save({"weight": Evil(tmp_path / "ran")}, folder / "model.safetensors")
    with pytest.raises(ModelFolderError) as error:
        opened(folder, "story-completion")
    assert "does not hold a model that can be loaded" in sentence(error)
    assert not (tmp_path / "ran").exists()


def test_weights_that_are_a_pickle_are_not_loaded_from_a_cache_either(folder: Path) -> None:
    # The Hub's cache may hold what other programs have fetched.
    weights = safetensors.torch.load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    with pytest.raises(ModelFolderError, match="does not hold a model that can be loaded"):
        load_model(folder, "AutoModelForCausalLM", CPU, torch.float32)


def nested(depth: int) -> Any:
    return {"a": nested(depth - 1)} if depth else {}


DEEP = b"[" * 100_000


def refused(folder: Path, words: str) -> None:
    with pytest.raises(ModelFolderError, match=words) as error:
        opened(folder, "story-completion")
    sentence(error)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.json", None, "config.json"),
        ("config.json", b"{", "config.json"),
        ("config.json", b"[]", "config.json"),
        ("config.json", DEEP, "config.json"),
        ("config.json", b'{"model_type": ' + b'{"a": ' * 100_000, "config.json"),
        ("config.json", b'{"n_embd": ' + b"9" * 5000 + b"}", "config.json"),
        ("config.json", b"\xff\xfe{}", "config.json"),
        ("adapter_config.json", b"{}", "adapter"),
        ("model.safetensors", None, "can be loaded"),
        ("generation_config.json", DEEP, "can be loaded"),
        ("tokenizer.json", None, "tokenizer"),
        ("tokenizer.json", b"{}", "tokenizer"),
        ("tokenizer.json", DEEP, "tokenizer"),
        ("tokenizer_config.json", DEEP, "tokenizer"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_a_missing_or_damaged_file_is_refused_in_one_line(
    folder: Path, name: str, content: bytes | None, words: str
) -> None:
    (folder / name).unlink(missing_ok=True)
    if content is not None:
        (folder / name).write_bytes(content)
    refused(folder, words)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"id2label": nested(400)}, "can be loaded"),
        ({"n_embd": float("nan")}, "can be loaded"),
        ({"n_embd": 4 * 10**15}, "can be loaded"),  # beyond all memory
        ({"n_embd": 64}, "cannot be|can be loaded"),
        ({"model_type": "nonsense"}, "can be loaded"),
        ({"model_type": "evil", "auto_map": {"AutoModelForCausalLM": "modeling.Evil"}}, "tokenizer|can be loaded"),
        ({"text_config": {"attn_implementation": {"": "evil/kernel"}}}, "code elsewhere"),
        ({"attn_implementation": "evil/kernel"}, "code elsewhere"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_config_that_does_not_fit_is_refused_in_one_line(folder: Path, fields: dict[str, Any], words: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))
    refused(folder, words)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_folder_in_the_place_of_a_file_is_refused_in_one_line(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()
    refused(folder, "config.json|can be loaded")


def test_weights_that_are_cut_off_or_lack_a_tensor_are_refused_in_one_line(folder: Path) -> None:
    weights = folder / "model.safetensors"
    content, tensors = weights.read_bytes(), safetensors.torch.load_file(weights)
    weights.write_bytes(content[:-100])
    refused(folder, "can be loaded")
    tensors.pop("transformer.h.1.mlp.c_fc.weight")
    safetensors.torch.save_file(tensors, weights, metadata={"format": "pt"})
    refused(folder, r"lack transformer\.h\.1\.mlp\.c_fc\.weight")


def test_a_model_without_the_tasks_head_is_refused(folder: Path) -> None:
    with pytest.raises(ModelFolderError, match=r"not hold a model for this task: its weights lack score\.weight"):
        opened(folder, "sentiment-analysis")


def test_a_loaded_model_is_the_saved_one_and_ready_to_use(folder: Path) -> None:
    model = load_model(folder, "AutoModelForCausalLM", CPU, torch.float32)
    assert not model.training
    saved = safetensors.torch.load_file(folder / "model.safetensors")
    assert all(torch.equal(model.state_dict()[name], value) for name, value in saved.items())
    assert load_tokenizer(folder)("Once").input_ids
