"""What of a model's folder is loaded: nothing that could run, and nothing from elsewhere."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.hub.checks import check_folder, model_files
from tests.support.model_folders import put, refusal

CPU = torch.device("cpu")
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
Folders = Callable[[str], Path]


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in model_files(folder)}


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


@pytest.mark.parametrize(
    ("name", "target"),
    [
        (WEIGHTS, "{outside}/secret.json"),
        ("sub", "{outside}"),
        (WEIGHTS, "../outside/secret.json"),
        (WEIGHTS, "{outside}/not-yet-there.json"),
        ("LICENSE", "{outside}/secret.json"),  # is never loaded
        (WEIGHTS, WEIGHTS),  # itself
    ],
)
@pytest.mark.parametrize("place", ["model", "models--x--y/snapshots/0123"])
def test_a_link_out_of_the_folder_is_refused(place: str, name: str, target: str, tmp_path: Path) -> None:
    folder, outside = tmp_path / place, tmp_path / place / ".." / "outside"
    folder.mkdir(parents=True)
    put(outside, "secret.json", content=b"{}")
    (folder / name).symlink_to(target.format(outside=outside))
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
