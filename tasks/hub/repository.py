"""A model on the Hub before it is downloaded: which of its files are needed, how large they are, whether it fits."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from tasks.base import ModelFolderError
from tasks.deadline import within
from tasks.disk import write_whole
from tasks.hub.checks import GGUF, LOADED, OTHER_WEIGHTS, SKIPPED
from tasks.hub.failures import LIMIT_S, hub_error
from tasks.hub.names import Source
from tasks.hub.quantization import Variant, pick, variants

BYTES_A_PARAMETER = 4  # on a CPU weights are float32
SAFETENSORS = ".safetensors"


@dataclass(frozen=True)
class RemoteFile:
    """A file of a model.

    Attributes:
        blob: its name in the Hub's cache.
        sha256: of its content, known of large files; else empty.
    """

    path: str
    size: int
    blob: str
    sha256: str


@dataclass(frozen=True)
class DownloadPlan:
    """What a download brings.

    Attributes:
        source: the model, at a commit.
        revision: what was asked for, such as `main`.
        license: as the model's page names it; empty if it does not.
        parameters: how many; None: the Hub does not say.
        memory_bytes: what its weights take on a CPU.
        variants: the GGUF files to choose from, of which `source.file` is one.
    """

    source: Source
    revision: str
    files: tuple[RemoteFile, ...]
    license: str
    parameters: int | None
    memory_bytes: int
    variants: tuple[Variant, ...] = ()

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)

    def remember_revision(self) -> None:
        """Note in the cache, as the Hub's client does, which commit the revision stands for."""
        if self.revision != self.source.revision:
            place = repository_folder(self.source.hub_id) / "refs" / self.revision
            write_whole(place, self.source.revision.encode())


def in_bytes(number: float) -> str:
    """A size for display: 93.2 MB, 5.16 GB."""
    return f"{number / 1e9:.2f} GB" if number >= 1e8 else f"{number / 1e6:.1f} MB"


def repository_folder(hub_id: str) -> Path:
    """The folder of a model in the Hub's cache."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser() / f"models--{hub_id.replace('/', '--')}"


def look_up(
    source: Source, *, gguf: bool, variant: str = "", ignore: Iterable[str] = (), token: str | None = None
) -> DownloadPlan:
    """Ask the Hub about a model.

    Args:
        gguf: whether the task runs GGUF, which is then preferred.
        variant: the quantization or file that is meant, of a model as GGUF; empty: see `quantization.pick`.
        ignore: files that are not needed, as patterns.

    Raises ModelFolderError, in one line, for a model that is not there or has nothing that can be run.
    """
    from huggingface_hub import HfApi

    def ask() -> Any:
        return HfApi(token=token).model_info(
            source.hub_id, revision=source.revision, files_metadata=True, timeout=LIMIT_S
        )

    try:
        info = within(LIMIT_S, ask)
    except Exception as error:  # the Hub's client passes on errors of several libraries
        raise hub_error(error, source.hub_id, source.revision) from error
    files = [_remote_file(sibling) for sibling in info.siblings or ()]
    parameters = info.safetensors.total if info.safetensors else (info.gguf or {}).get("total")
    offered = variants((file.path, file.size) for file in files) if gguf else []
    if variant and not gguf:
        raise ModelFolderError(f"{source.hub_id}: this task does not run GGUF, so there is no {variant} to choose")
    wanted = source.file or variant
    pinned = replace(source, revision=info.sha)
    if offered:
        chosen = pick(offered, wanted, parameters, source.hub_id)
        needed = [file for file in files if file.path in chosen.files]
        pinned = replace(pinned, file=chosen.files[0])
        memory = chosen.bytes
    else:
        needed = _as_safetensors(source.hub_id, files, gguf, tuple(ignore))
        weights = sum(file.size for file in needed if file.path.endswith(SAFETENSORS))
        memory = parameters * BYTES_A_PARAMETER if parameters else weights
    return DownloadPlan(pinned, source.revision, tuple(needed), license_of(info), parameters, memory, tuple(offered))


def _remote_file(sibling: Any) -> RemoteFile:
    sha256 = sibling.lfs.sha256 if sibling.lfs else ""
    return RemoteFile(sibling.rfilename, sibling.size or 0, sha256 or sibling.blob_id, sha256)


def _as_safetensors(hub_id: str, files: Sequence[RemoteFile], gguf: bool, ignore: tuple[str, ...]) -> list[RemoteFile]:
    """The files of a model as safetensors. Raises ModelFolderError where there are none."""
    left_out = (*SKIPPED, *ignore)
    needed = [
        file
        for file in files
        if file.path.endswith(LOADED)
        and not file.path.endswith(GGUF)
        and not any(fnmatch(file.path, pattern) for pattern in left_out)
    ]
    names = {file.path for file in files}
    if "adapter_config.json" in names and "config.json" not in names:
        raise ModelFolderError(f"{hub_id} holds an adapter; valid: a whole model, merged with its adapter")
    if any(file.path.endswith(SAFETENSORS) for file in needed):
        return needed
    kinds = "safetensors or GGUF" if gguf else "safetensors"
    if any(Path(name).suffix in OTHER_WEIGHTS for name in names):
        raise ModelFolderError(f"{hub_id} has no weights as {kinds}; pickles are not loaded")
    if any(name.endswith(GGUF) for name in names):
        raise ModelFolderError(f"{hub_id} has weights as GGUF only, which this task does not run; valid: safetensors")
    raise ModelFolderError(f"{hub_id} has no weights as {kinds}")


def license_of(info: Any) -> str:
    """The license on a model's page; empty where it names none."""
    card = info.card_data
    return str(card.get("license_name") or card.get("license") or "") if card else ""
