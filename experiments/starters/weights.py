"""Finished starters as small folders in standard Hugging Face format."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file

from experiments.config import ConfigError

WEIGHTS = "model.safetensors"
KEPT = ("fp16", "fp8")


def save_small(model: Any, tokenizer: Any, folder: Path, keep: str = "fp16") -> None:
    """Write a transformers model and its tokenizer; `from_pretrained(folder)` gives float32 back.

    Args:
        keep: how numbers are written. `fp16`: two bytes each. `fp8`: matrices as float8_e4m3fn (one byte: sign, four
            bits of exponent, three of mantissa; Micikevicius et al. 2022, "FP8 Formats for Deep Learning"), vectors,
            which are few and sensitive, as fp16. A plain cast, with no scales that a reader would have to know.

    Raises ConfigError for another `keep`, and for numbers that it cannot hold.
    """
    if keep not in KEPT:
        raise ConfigError(f"keep is {keep!r}; valid: {', '.join(KEPT)}")
    transformers.utils.logging.disable_progress_bar()
    model.config.dtype = torch.float32
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    shrink(folder / WEIGHTS, keep)


def shrink(path: Path, keep: str) -> None:
    """Rewrite a safetensors file with smaller numbers, as `save_small` says."""
    small = {name: _small(name, value, keep) for name, value in load_file(path).items()}
    save_file(small, path, metadata={"format": "pt"})


def _small(name: str, value: torch.Tensor, keep: str) -> torch.Tensor:
    if not value.is_floating_point():
        return value
    kind = torch.float8_e4m3fn if keep == "fp8" and value.ndim > 1 else torch.float16
    largest = float(value.abs().max()) if value.numel() else 0.0
    if not largest <= torch.finfo(kind).max:
        raise ConfigError(f"{name} has values up to {largest:g}; {keep} holds up to {torch.finfo(kind).max:g}")
    return value.to(kind).contiguous()


def folder_bytes(folder: Path) -> int:
    """The size of all files of a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def read_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a model folder."""
    return json.loads((folder / "config.json").read_text())
