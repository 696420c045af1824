"""Finished starters as small files."""

from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file

from experiments.config import ConfigError


def save_small(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write a transformers model and its tokenizer; `from_pretrained(folder)` gives float32 back.

    Matrices are stored as float8_e4m3fn (one byte: sign, four bits of exponent, three of mantissa; Micikevicius et al.
    2022, "FP8 Formats for Deep Learning"), vectors, which are few and sensitive, as float16. A plain cast, with no
    scales that a reader would have to know. Raises ConfigError for numbers that it cannot hold.
    """
    transformers.utils.logging.disable_progress_bar()
    model.config.dtype = torch.float32
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    shrink(folder / "model.safetensors", torch.float8_e4m3fn)


def shrink(path: Path, matrices: torch.dtype = torch.float16) -> None:
    """Rewrite a safetensors file with float16 vectors, and matrices of this type. Raises ConfigError as above."""
    small = {}
    for name, value in load_file(path).items():
        kind = value.dtype
        if value.is_floating_point():
            kind = matrices if value.ndim > 1 else torch.float16
            largest = float(value.abs().max()) if value.numel() else 0.0
            if not largest <= torch.finfo(kind).max:  # also for NaN
                raise ConfigError(f"{name} has values up to {largest:g}; {kind} holds up to {torch.finfo(kind).max:g}")
        small[name] = value.to(kind).contiguous()
    save_file(small, path, metadata={"format": "pt"})
