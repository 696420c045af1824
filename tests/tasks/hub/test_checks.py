"""What of a model's folder is loaded: nothing that could run, and nothing from elsewhere."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from tasks.base import ModelFolderError
from tasks.engines.loading import load_model
from tasks.hub.checks import check_folder, model_files
from tasks.hub.source import weights_folder
from tests.support.tiny_models import opened

CPU = torch.device("cpu")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
Folders = Callable[[str], Path]


def refusal(folder: Path) -> str:
    with pytest.raises(ModelFolderError) as caught:
        check_folder(folder)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400
    return str(caught.value)


def put(folder: Path, *names: str, content: bytes = b"") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in model_files(folder)}


@pytest.fixture
def folder(tiny_folder: Folders, tmp_path: Path) -> Path:
    """A copy of a tiny model that a test may spoil."""
    return Path(shutil.copytree(tiny_folder("gpt2"), tmp_path / "model"))


# What is loaded, what is passed over, what is refused


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "vocab.txt", "chat_template.jinja", "sub/a.model"]
)
def test_data_files_are_loaded(name: str, tmp_path: Path) -> None:
    put(tmp_path, name)
    check_folder(tmp_path)
    assert names(tmp_path) == {name}


CLONED = (
    ".gitattributes", ".git/config", ".git/hooks/update.py", ".git/objects/ab/cdef.pt", ".cache/huggingface/x.lock",
    "LICENSE", "README.md", "sample.png", "model.json~", "archive.zip", "64.tflite", "rust_model.ot", "tf_model.h5",
    "flax_model.msgpack", "onnx/model.onnx", "onnx/config.json", "original/x.safetensors", "consolidated.safetensors",
)  # fmt: skip


def test_what_is_never_loaded_is_passed_over(tmp_path: Path) -> None:
    put(tmp_path, WEIGHTS, "config.json", *CLONED, "pytorch_model.bin", "unet/pytorch_model.bin", "v1-5.ckpt")
    check_folder(tmp_path)
    assert names(tmp_path) == {WEIGHTS, "config.json"}


@pytest.mark.parametrize(
    "name",
    [
        "weights.pkl",
        "model.py",
        "model.pt",
        "model.pth",
        "a.so",
        "WEIGHTS.PKL",
        "tokenizer.pickle",
        "sub/deep/model.joblib",
        "model.safetensors.pkl",
        "unet/diffusers.py",
    ],
)
def test_code_and_pickles_are_refused_by_name(name: str, tmp_path: Path) -> None:
    put(tmp_path, WEIGHTS, "config.json", name)
    assert f"{tmp_path / name} is not loaded" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "v1-5.ckpt", "tf_model.h5", "unet/diffusion_pytorch_model.BIN"])
def test_weights_of_another_kind_alone_are_refused_by_name(name: str, tmp_path: Path) -> None:
    put(tmp_path, "config.json", name)
    text = refusal(tmp_path)
    assert f"{tmp_path / name} is not loaded" in text and "safetensors" in text


def test_what_git_lfs_has_not_fetched_is_said(tmp_path: Path) -> None:
    put(tmp_path, WEIGHTS, content=b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "model.safetensors is a pointer of Git LFS" in refusal(tmp_path) and "git lfs pull" in refusal(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    assert "config.json is not a file" in refusal(tmp_path)


def test_a_model_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "file")
    for path in (tmp_path / "file", tmp_path / "missing"):
        assert refusal(path) == f"{path} is not a folder"


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", forbidden)
    assert refusal(tmp_path) == f"{tmp_path} cannot be read: Permission denied"


# Links


def link_to_file(folder: Path, outside: Path) -> None:
    (folder / WEIGHTS).symlink_to(outside / "secret.json")


def link_to_folder(folder: Path, outside: Path) -> None:
    (folder / "sub").symlink_to(outside, target_is_directory=True)


def relative_link(folder: Path, outside: Path) -> None:
    (folder / WEIGHTS).symlink_to(Path("..") / outside.name / "secret.json")


def dangling_link(folder: Path, outside: Path) -> None:
    (folder / WEIGHTS).symlink_to(outside / "not-yet-there.json")


def link_of_no_kind(folder: Path, outside: Path) -> None:
    (folder / "LICENSE").symlink_to(outside / "secret.json")


def link_to_itself(folder: Path, _outside: Path) -> None:
    (folder / WEIGHTS).symlink_to(folder / WEIGHTS)


LINKS = [link_to_file, link_to_folder, relative_link, dangling_link, link_of_no_kind, link_to_itself]


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("place", ["model", "models--x--y/snapshots/0123"])
def test_a_link_out_of_the_folder_is_refused(place: str, link: Callable[[Path, Path], None], tmp_path: Path) -> None:
    folder, outside = tmp_path / place, tmp_path / place / ".." / "outside"
    folder.mkdir(parents=True)
    put(outside, "secret.json", content=b"{}")
    link(folder, outside)
    assert "points out of the model's folder" in refusal(folder)


@pytest.mark.parametrize("hidden", [".hidden", "onnx"])
def test_a_link_to_a_folder_that_is_not_looked_at_is_refused(hidden: str, tmp_path: Path) -> None:
    put(tmp_path, "config.json", f"{hidden}/pytorch_model.bin")
    put(tmp_path, f"{hidden}/{INDEX}", content=b'{"weight_map": {"a": "weights.txt"}}')
    (tmp_path / "unet").symlink_to(hidden)
    assert refusal(tmp_path) == f"{tmp_path / 'unet'} is a link to a folder; valid: the folder itself"


def test_a_folder_may_be_reached_by_a_link_and_hold_links_within(tmp_path: Path) -> None:
    put(tmp_path / "model", "config.json")
    (tmp_path / "model" / "same.json").symlink_to("config.json")
    (tmp_path / "alias").symlink_to(tmp_path / "model")
    check_folder(tmp_path / "alias")
    assert names(tmp_path / "alias") == {"config.json", "same.json"}


def test_a_snapshot_of_the_hubs_cache_may_link_to_its_own_blobs_only(tmp_path: Path) -> None:
    repository = tmp_path / "models--x--y"
    snapshot = repository / "snapshots" / "0123"
    put(repository, "blobs/abc", "refs/main")
    put(tmp_path, "models--z/blobs/abc")
    (snapshot / "unet").mkdir(parents=True)
    (snapshot / "unet" / WEIGHTS).symlink_to("../../../blobs/abc")
    check_folder(snapshot)
    assert names(snapshot) == {f"unet/{WEIGHTS}"}
    for elsewhere in ("../../refs/main", "../../../models--z/blobs/abc", "../../blobs/../refs/main"):
        (snapshot / "config.json").symlink_to(elsewhere)
        assert "config.json points out of the model's folder" in refusal(snapshot)
        (snapshot / "config.json").unlink()
    shutil.copytree(snapshot, tmp_path / "copied", symlinks=True)
    assert "points out of the model's folder" in refusal(tmp_path / "copied")
    (repository / "blobs" / "abc").unlink()
    assert f"{WEIGHTS} is not a file" in refusal(snapshot)


def test_blobs_that_are_elsewhere_are_not_a_snapshots_own(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--x--y/snapshots/0123"
    put(tmp_path, "private/abc")
    snapshot.mkdir(parents=True)
    (tmp_path / "models--x--y/blobs").symlink_to(tmp_path / "private")
    (snapshot / "config.json").symlink_to("../../blobs/abc")
    assert "points out of the model's folder" in refusal(snapshot)


# An index of weights


class Evil:
    """Unpickling this makes a folder: proof that code ran."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


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
