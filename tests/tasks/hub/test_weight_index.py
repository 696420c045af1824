"""An index that divides weights among files, and a configuration that names them: only files beside it are loaded."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from tasks.base import ModelFolderError
from tasks.engines.loading import load_model
from tasks.hub.checks import check_folder
from tasks.hub.source import weights_folder
from tests.support.model_folders import Evil, put, refusal
from tests.support.tiny_models import opened

CPU = torch.device("cpu")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"


def shard(folder: Path, *parts: str) -> None:
    """Put an index into a model's folder that divides its weights among files."""
    weights = safetensors.torch.load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    shards = {part: {} for part in parts}
    where = {name: parts[number % len(parts)] for number, name in enumerate(weights)}
    for name, part in where.items():
        shards[part][name] = weights[name]
    for part, tensors in shards.items():
        if part.endswith(".safetensors"):
            safetensors.torch.save_file(tensors, folder / part, {"format": "pt"})
        else:
            torch.save(tensors, folder / part)
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": where}))


def test_weights_in_several_files_are_loaded(folder: Path) -> None:
    whole = safetensors.torch.load_file(folder / WEIGHTS)
    shard(folder, "model-1.safetensors", "model-2.safetensors")
    check_folder(folder)
    loaded = load_model(folder, "AutoModelForCausalLM", CPU, torch.float32).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in whole.items())


@pytest.mark.parametrize(
    "name", ["weights.txt", "../evil.bin", "../out.safetensors", "safetensors", "sub/x.safetensors"]
)
def test_an_index_that_names_a_pickle_or_a_file_elsewhere_is_refused(folder: Path, name: str) -> None:
    (folder / "sub").mkdir()
    shard(folder, "model-1.safetensors", name)
    for use in (check_folder, weights_folder, lambda folder: opened(folder, "story-completion")):
        with pytest.raises(ModelFolderError, match="valid: names of") as caught:
            use(folder)
        assert str(folder / INDEX) in str(caught.value) and name in str(caught.value)


INDEXES: dict[str, str] = {
    "absolute": '{"weight_map": {"a": "/x.safetensors"}}',
    "of Windows": '{"weight_map": {"a": "..\\\\x.safetensors"}}',
    "the folder": '{"weight_map": {"a": "."}}',
    "no name": '{"weight_map": {"a": ""}}',
    "a zero": '{"weight_map": {"a": "x\\u0000.safetensors"}}',
    "another case": '{"weight_map": {"a": "x.SAFETENSORS"}}',
    "missing": '{"weight_map": {"a": "missing.safetensors"}}',
    "hidden": '{"weight_map": {"a": ".hidden.safetensors"}}',
    "a folder": '{"weight_map": {"a": "folder.safetensors"}}',
    "a number": '{"weight_map": {"a": 1}}',
    "a list": '{"weight_map": {"a": ["x.safetensors"]}}',
    "the last of two keys": '{"weight_map": {"a": "x.safetensors", "a": "x.bin"}}',
    "the last of two maps": '{"weight_map": {"a": "x.safetensors"}, "weight_map": {"a": "../x.safetensors"}}',
    "no map": "{}",
    "a map that is a list": '{"weight_map": ["x.safetensors"]}',
    "null": "null",
    "deep": "[" * 100_000,
    "deep within": '{"weight_map": {"a": ' + "[" * 100_000,
    "endless number": '{"weight_map": {"a": ' + "9" * 5000 + "}}",
    "not a number": '{"weight_map": NaN}',
    "nothing": "",
}


@pytest.mark.parametrize("place", ["", "unet/"])
@pytest.mark.parametrize("case", INDEXES)
def test_an_index_that_leads_nowhere_is_refused_in_one_line(case: str, place: str, tmp_path: Path) -> None:
    put(tmp_path, f"{place}x.safetensors", f"{place}.hidden.safetensors", "x.safetensors")
    (tmp_path / place / "folder.safetensors").mkdir()
    index = tmp_path / place / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(INDEXES[case])
    assert str(index) in refusal(tmp_path)


def test_an_index_that_is_not_utf8_is_refused_in_one_line(tmp_path: Path) -> None:
    for name in (INDEX, "model.safetensors.index.fp16.json"):
        put(tmp_path, name, content=b"\xff\xfe")
        assert name in refusal(tmp_path)
        (tmp_path / name).unlink()


def test_a_shard_that_is_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    shard(folder, "model-1.safetensors", "model-2.safetensors")
    (folder / "model-2.safetensors").rename(tmp_path / "outside.safetensors")
    (folder / "model-2.safetensors").symlink_to(tmp_path / "outside.safetensors")
    assert "model-2.safetensors points out of the model's folder" in refusal(folder)


def test_the_index_of_pickles_is_not_used(folder: Path) -> None:
    (folder / "pytorch_model.bin.index.json").write_text('{"weight_map": {"a": "../x.bin"}}')
    opened(folder, "story-completion")


@pytest.mark.parametrize("name", ["adapter_model.bin", "sub/x.safetensors", "../x.safetensors", "gone.safetensors", 3])
@pytest.mark.parametrize("nested", [False, True])
def test_a_configuration_that_names_other_weights_is_refused(folder: Path, nested: bool, name: Any) -> None:
    # transformers would take the first for weights, and load it with pickle.
    marker = folder.parent / "ran"
    put(folder, "sub/x.safetensors", "../x.safetensors")
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Evil(marker)))
    config = json.loads((folder / "config.json").read_text())
    named = {"transformers_weights": name}
    (folder / "config.json").write_text(json.dumps({**config, **({"text_config": named} if nested else named)}))
    with pytest.raises(ModelFolderError, match="names weights elsewhere") as caught:
        opened(folder, "story-completion")
    assert "\n" not in str(caught.value) and not marker.exists()


def test_a_configuration_may_name_weights_beside_it(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "mine.safetensors")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "transformers_weights": "mine.safetensors"}))
    opened(folder, "story-completion")
