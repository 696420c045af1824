"""A model repository of the local Hub: its commits, and what the real Hub finds out about the files in them."""

import hashlib
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

LFS_BYTES = 512  # on the real Hub 10 MB, or any size of a kind of file that holds weights
LFS_KINDS = (".safetensors", ".gguf", ".bin")
POINTER_BYTES = 134


@dataclass(frozen=True)
class File:
    """A file at a commit. Attributes: oid: of git; sha256: of a file in LFS, else empty."""

    content: bytes
    oid: str
    sha256: str


@dataclass
class Repository:
    """A model on the Hub.

    Attributes:
        gated: `auto` or `manual` if terms are to be accepted; `accepted`: the known token's owner has done so.
        tags: those that its author wrote; the Hub adds its own.
        history: the files of each commit, the newest last; `refs`: branches and tags.
    """

    hub_id: str
    pipeline_tag: str = "text-generation"
    downloads: int = 100
    likes: int = 1
    license: str = "apache-2.0"
    library_name: str = ""
    gated: str | bool = False
    accepted: bool = False
    private: bool = False
    tags: tuple[str, ...] = ()
    history: dict[str, dict[str, File]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: Mapping[str, bytes] | Path) -> str:
        """Make a commit of these files, and `main` point to it; its sha."""
        if isinstance(files, Path):
            paths = [path for path in sorted(files.rglob("*")) if path.is_file()]
            files = {path.relative_to(files).as_posix(): path.read_bytes() for path in paths}
        made = {path: _file(path, content) for path, content in files.items()}
        text = json.dumps([len(self.history), self.hub_id, *sorted((path, one.oid) for path, one in made.items())])
        commit = hashlib.sha1(text.encode()).hexdigest()
        self.history[commit] = made
        self.refs["main"] = commit
        return commit

    @property
    def main(self) -> str:
        return self.refs["main"]

    def resolve(self, revision: str) -> str | None:
        """The commit of a branch, tag or commit."""
        return revision if revision in self.history else self.refs.get(revision)

    def content(self, path: str) -> bytes:
        """A file at `main`."""
        return self.history[self.main][path].content

    def all_tags(self) -> set[str]:
        """The author's tags and the Hub's own, which filters are compared with."""
        return {*self._tags(self.main), self.pipeline_tag, self.library_name}

    def tree(self, commit: str) -> list[dict[str, Any]]:
        """The answer about the files of a commit."""
        return [
            {
                "type": "file",
                "path": path,
                "size": len(file.content),
                "oid": file.oid,
                **({"lfs": {"oid": file.sha256, **_pointer(file)}} if file.sha256 else {}),
            }
            for path, file in self.history[commit].items()
        ]

    def info(self, revision: str, *, blobs: bool) -> dict[str, Any]:
        """The answer about the model. Args: blobs: with sizes and digests of its files."""
        commit = self.resolve(revision)
        assert commit is not None
        files = self.history[commit]
        facts = {
            "id": self.hub_id,
            "modelId": self.hub_id,
            "sha": commit,
            "private": self.private,
            "gated": self.gated,
            "downloads": self.downloads,
            "likes": self.likes,
            "pipeline_tag": self.pipeline_tag,
            "library_name": self.library_name or None,
            "tags": self._tags(commit),
            "cardData": {"license": self.license} if self.license else None,
            "config": _config(files),
            "safetensors": _safetensors(files),
            "gguf": _gguf(files),
            "siblings": [_sibling(path, file, blobs) for path, file in files.items()],
        }
        return {name: value for name, value in facts.items() if value is not None}

    def _tags(self, commit: str) -> list[str]:
        files = self.history[commit]
        config, gguf = _config(files) or {}, _gguf(files) or {}
        found = [
            *self.tags,
            *(("safetensors",) if _safetensors(files) else ()),
            *(("gguf",) if any(path.endswith(".gguf") for path in files) else ()),
        ]
        if "chat_template" in config.get("tokenizer_config", {}) or "chat_template" in gguf:
            found.append("conversational")
        if "model_index.json" in files:
            found += ["diffusers", f"diffusers:{json.loads(files['model_index.json'].content)['_class_name']}"]
        elif "config.json" in files:
            found.append("transformers")
        return [*found, f"license:{self.license}"] if self.license else found


def _file(path: str, content: bytes) -> File:
    oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    in_lfs = path.endswith(LFS_KINDS) and len(content) >= LFS_BYTES
    return File(content, oid, hashlib.sha256(content).hexdigest() if in_lfs else "")


def _pointer(file: File) -> dict[str, int]:
    return {"size": len(file.content), "pointerSize": POINTER_BYTES}


def _sibling(path: str, file: File, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": path}
    lfs = {"lfs": {"sha256": file.sha256, **_pointer(file)}} if file.sha256 else {}
    return {"rfilename": path, "size": len(file.content), "blobId": file.oid, **lfs}


def _config(files: Mapping[str, File]) -> dict[str, Any] | None:
    """What the Hub shows of config.json, with the chat template of the tokenizer."""
    if "config.json" not in files:
        return None
    try:
        config = json.loads(files["config.json"].content)
    except ValueError:
        return None
    shown = {name: config[name] for name in ("architectures", "model_type", "quantization_config") if name in config}
    template = files.get("chat_template.jinja")
    return {**shown, "tokenizer_config": {"chat_template": template.content.decode()} if template else {}}


def _safetensors(files: Mapping[str, File]) -> dict[str, Any] | None:
    """Parameters by their type, from the headers of the weights; None without such weights."""
    counts: dict[str, int] = {}
    for path, file in files.items():
        if path.endswith(".safetensors"):
            (length,) = struct.unpack_from("<Q", file.content)
            for name, tensor in json.loads(file.content[8 : 8 + length]).items():
                if name != "__metadata__":
                    counts[tensor["dtype"]] = counts.get(tensor["dtype"], 0) + prod(tensor["shape"])
    return {"parameters": counts, "total": sum(counts.values())} if counts else None


def _gguf(files: Mapping[str, File]) -> dict[str, Any] | None:
    """What the Hub reads from the header of a GGUF file; None without one, or if its header cannot be read."""
    import tempfile

    from tasks.base import ModelFolderError
    from tasks.engines.gguf import read_gguf

    path = next((path for path in files if path.endswith(".gguf")), None)
    if path is None:
        return None
    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        file.write(files[path].content)
        file.flush()
        try:
            model = read_gguf(Path(file.name))
        except ModelFolderError:
            return {}
    template = {"chat_template": model.chat_template} if model.chat_template else {}
    length = {"context_length": model.context_length}
    return {"total": model.parameters, "architecture": model.architecture, **length, **template}
