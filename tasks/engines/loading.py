"""Loading with transformers: onto which device, in which type, safetensors only, and never any code."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tasks.base import ModelFolderError, first_line
from tasks.hub.checks import check_config


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
