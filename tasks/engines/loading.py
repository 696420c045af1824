"""Loading with transformers: onto which device, in which type, safetensors only, and never any code."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from tasks.base import ModelFolderError, first_line
from tasks.hub.checks import check_config

# Attention over more takes a CPU minutes; GPUs read what the model can.
CPU_WINDOW = 4096
POOLER = ".pooler."  # between body and head; models for other tasks go without


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


def load_model(
    folder: Path, auto_class: str, device: torch.device, dtype: torch.dtype, head: Mapping[str, Any] | None = None
) -> Any:
    """A model of a folder with weights, in eval mode on the device.

    Args:
        auto_class: the class of transformers that says what the model is for, such as `AutoModelForCausalLM`.
        head: settings of a model that is to be trained, such as its number of classes; what the folder has no weights
            of this size for is then new, unless it belongs to the body that all heads share.

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
                **({} if head is None else {**head, "ignore_mismatched_sizes": True}),
            )
    except Exception as error:  # the loaders fail in a dozen ways on files that are not what they say
        raise ModelFolderError(f"{folder} does not hold a model that can be loaded: {first_line(error)}") from error
    lacking = {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])}
    if head is not None:
        lacking = {name for name in lacking if name.startswith(f"{model.base_model_prefix}.") and POOLER not in name}
    if lacking:
        missing = ", ".join(sorted(lacking)[:3])
        raise ModelFolderError(f"{folder} does not hold a model for this task: its weights lack {missing}")
    return model.to(device).eval()


def context_window(model: Any, tokenizer: Any) -> int:
    """How many tokens, special ones included, a model reads (and writes, if it generates) at once."""
    config = model.config
    limits = [getattr(config, name, None) for name in ("max_position_embeddings", "n_positions")]
    limits.append(tokenizer.model_max_length)  # 1e30 if its files do not say
    for name, module in model.named_modules():
        # RoBERTa and its kin count positions from behind the padding's index: 514 of them are for 512 tokens.
        if name.endswith("position_embeddings") and getattr(module, "padding_idx", None) is not None:
            limits.append(module.num_embeddings - module.padding_idx - 1)
    if model.device.type == "cpu":
        limits.append(CPU_WINDOW)
    return min(int(limit) for limit in limits if limit)


def prepare_writing(model: Any) -> None:
    """Set what a model's own generation config must not decide, or leaves open."""
    config = model.generation_config
    # The tasks say how much to write in new tokens; a total length beside it makes transformers warn.
    config.max_length = config.min_length = None
    if config.pad_token_id is None:
        ends = config.eos_token_id
        config.pad_token_id = ends[0] if isinstance(ends, list) else ends


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
