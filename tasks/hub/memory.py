"""Whether a model of the Hub fits into the memory here, before it is downloaded."""

import sys

import psutil

from tasks.base import ModelFolderError
from tasks.hub.repository import DownloadPlan, in_bytes
from tasks.runtime.budget import MEMORY_SWITCH, memory_budget


def memory_there_is() -> int:
    """Bytes of memory that a model may take here: what is free, and no more than all loaded models may take."""
    return min(memory_budget(), psutil.virtual_memory().available)


def check_memory(plan: DownloadPlan) -> None:
    """Refuse a model that does not fit into the memory, before it is downloaded. Raises ModelFolderError."""
    # Safetensors are loaded in half precision on a GPU; a GGUF file is as it is.
    needed = plan.memory_bytes // 2 if on_gpu() and not plan.source.file else plan.memory_bytes
    check_fits(plan.source.hub_id, needed)


def check_fits(name: str, needed: int) -> None:
    """Refuse a model that needs more bytes of memory than there are. Raises ModelFolderError."""
    room = memory_there_is()
    if needed > room:
        raise ModelFolderError(
            f"{name} needs {in_bytes(needed)} of memory, more than the {in_bytes(room)} "
            f"that there are for models ({MEMORY_SWITCH}, or what is free)"
        )


def on_gpu() -> bool:
    """Whether models are loaded onto a GPU; torch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and torch.cuda.is_available()
