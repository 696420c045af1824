"""Where a pretrained model's weights come from, and how they are loaded: safetensors only, and never any code.

A model's folder holds the weights themselves, or names a model of the Hugging Face Hub in `source.json`, which is then
read from the Hub's cache, or downloaded into it.
"""

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from tasks.base import ModelFolderError, first_line
from tasks.folders import LOADED, SKIPPED, check_config, check_folder, model_files
from tasks.json_files import read_json

SOURCE_FILE = "source.json"
HUB_ID = re.compile(r"[A-Za-z0-9]([\w.-]*/)?[\w.-]+")
REVISION = re.compile(r"[A-Za-z0-9][\w./-]*")


@dataclass(frozen=True)
class Source:
    """A model on the Hub: its id, and a commit, tag or branch."""

    hub_id: str
    revision: str

    def __post_init__(self) -> None:
        for name, pattern in (("hub_id", HUB_ID), ("revision", REVISION)):
            value = getattr(self, name)
            if not isinstance(value, str) or not pattern.fullmatch(value) or ".." in value:
                raise ModelFolderError(f"{name} is {value!r}; valid: what the Hub calls models and commits")


def write_source(folder: Path, source: Source) -> None:
    """Make a folder stand for a model on the Hub."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SOURCE_FILE).write_text(json.dumps(asdict(source), indent=1) + "\n")


def read_source(folder: Path) -> Source | None:
    """The model on the Hub that a folder stands for; None if it holds the weights itself."""
    path = folder / SOURCE_FILE
    if not path.exists():
        return None
    try:
        fields = read_json(path)
        return Source(fields["hub_id"], fields["revision"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFolderError(f"{path} does not name a hub_id and a revision: {error}") from error


def weights_folder(folder: Path, ignore: Iterable[str] = ()) -> Path:
    """The folder with the weights of a model's folder: itself, or the Hub's cached copy, downloaded if need be.

    Raises ModelFolderError, in one line, for pickles, code, links out of the folder, and for what cannot be had.
    """
    check_folder(folder)
    source = read_source(folder)
    if source is None:
        return folder
    weights = download(source, ignore)
    model_files(weights, ignore)
    return weights


def download(source: Source, ignore: Iterable[str] = ()) -> Path:
    """A model of the Hub as a folder of the Hub's cache; its name is the commit. The cache is asked before the network.

    Args:
        ignore: files that are not needed, as patterns such as `*.fp16.safetensors`.

    Raises ModelFolderError for a wrong id or revision, a gated model, no network, no safetensors.
    """
    from huggingface_hub import errors, snapshot_download

    def fetch(offline: bool) -> Path:
        found = snapshot_download(
            source.hub_id,
            revision=source.revision,
            allow_patterns=[f"*{suffix}" for suffix in LOADED],  # its pickles and code never reach this machine
            ignore_patterns=[*SKIPPED, *ignore],
            local_files_only=offline,
        )
        if not any(Path(found).rglob("*.safetensors")):
            raise errors.EntryNotFoundError
        return Path(found)

    try:
        try:
            return fetch(offline=True)
        except errors.EntryNotFoundError:  # not in the cache, or not all of it
            return fetch(offline=False)
    except errors.GatedRepoError:
        reason = "is gated: accept its terms on its page and log in with `hf auth login`"
    except errors.RepositoryNotFoundError:
        reason = "is not on the Hub, or is private: check the id"
    except errors.RevisionNotFoundError:
        reason = f"has no revision {source.revision}"
    except errors.LocalEntryNotFoundError:
        reason = "is not in the local cache, and the Hub cannot be reached"
    except errors.EntryNotFoundError:
        reason = "has no weights as safetensors; pickles are not loaded"
    except Exception as error:  # the Hub's client passes on errors of several libraries
        reason = f"cannot be downloaded: {first_line(error)}"
    raise ModelFolderError(f"{source.hub_id} {reason}")


def pick_device(name: str) -> torch.device:
    """The device of a name; `auto` takes a GPU if there is one. Raises ValueError for one that is not there."""
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if present[device])
    if not present.get(name):
        usable = ", ".join(["auto", *(device for device, there in present.items() if there)])
        raise ValueError(f"device is {name!r}; valid on this machine: {usable}")
    return torch.device(name)


def pick_dtype(device: torch.device, *, wide_range: bool) -> torch.dtype:
    """The type for a pretrained model's weights.

    Half precision on GPUs: bf16 where the model needs the range of float32 (T5 overflows in fp16), else fp16, which
    rounds scores less. On a CPU float32: even one with AVX512-BF16 took 17 % longer in bf16 for each generated token
    of GPT-2 (a text was read 2 to 3 times faster), and without such instructions bf16 is slow altogether.
    """
    if device.type == "cpu":
        return torch.float32
    if not wide_range:
        return torch.float16
    if device.type == "cuda" and not torch.cuda.is_bf16_supported():
        return torch.float32
    return torch.bfloat16


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder with weights. Raises ModelFolderError if there is none that can be used."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except Exception as error:  # the loaders fail in a dozen ways on files that are not what they say
        raise ModelFolderError(f"{folder} does not hold a tokenizer: {first_line(error)}") from error
    if not tokenizer.is_fast:
        raise ModelFolderError(f"{folder} holds a tokenizer of a kind without character offsets (no tokenizer.json)")
    return tokenizer


def load_model(folder: Path, auto_class: str, device: torch.device, dtype: torch.dtype) -> Any:
    """A model of a folder with weights, in eval mode on the device.

    Args:
        auto_class: the class of transformers that says what the model is for, such as `AutoModelForCausalLM`.

    Raises ModelFolderError if the weights are damaged, for something else, or lack a part, which would be random.
    """
    import transformers

    check_config(folder)
    try:
        with _quiet_transformers():
            model, report = getattr(transformers, auto_class).from_pretrained(
                str(folder),
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
    except Exception as error:  # the loaders fail in a dozen ways on files that are not what they say
        raise ModelFolderError(f"{folder} does not hold a model that can be loaded: {first_line(error)}") from error
    if report["missing_keys"]:
        missing = ", ".join(sorted(report["missing_keys"])[:3])
        raise ModelFolderError(f"{folder} does not hold a model for this task: its weights lack {missing}")
    return model.to(device).eval()


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Without its bar of loaded weights and its report of missing ones, which are answered for here."""
    from transformers.utils import logging

    bar, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bar:
            logging.enable_progress_bar()
