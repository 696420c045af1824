"""Memory that models held: given back to the device and the operating system, and errors of a device that is full."""

import contextlib
import ctypes
import gc
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


# What torch, oneDNN, the libraries of CUDA, Metal and the C++ library say.
FULL = (
    "DefaultCPUAllocator",
    "MPS backend out of memory",
    "CUDA error: out of memory",
    "Invalid buffer size",  # Metal, for one larger than it takes
    "_ALLOC_FAILED",  # cuBLAS, cuDNN, cuFFT
    "could not create a primitive",
    "could not create a memory object",
    "std::bad_alloc",
    "Cannot allocate memory",
)


class DeviceFullError(Exception):
    """A model, or its answer, does not fit into what is free of its device's memory. The text says what to do."""


def is_full(error: BaseException) -> bool:
    """Whether an error is torch's for a device without enough free memory (torch need not be loaded to know).

    On a CPU, and on Apple's GPUs, that is a plain RuntimeError, told by its text only.
    """
    if isinstance(error, MemoryError):
        return True
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(error, RuntimeError):
        return False
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in FULL)


def forget_frames(error: BaseException) -> None:
    """Drop the tracebacks of an error and of all errors behind it: their frames would keep a model in memory."""
    errors = [error]
    for link in errors:  # which grows meanwhile
        link.__traceback__ = None
        errors += [other for other in (link.__cause__, link.__context__) if other and other not in errors]


def give_memory_back() -> None:
    """Return the memory of dropped models to the device and the operating system."""
    gc.collect()
    torch = sys.modules.get("torch")  # not imported for this: without it there is nothing to give back
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):  # other C libraries have no malloc_trim
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def modules_of(values: Iterable[Any]) -> "list[nn.Module]":
    """The torch modules among some values."""
    torch = sys.modules.get("torch")  # not imported for this: without it there are none
    return [value for value in values if torch is not None and isinstance(value, torch.nn.Module)]


def memory_bytes(*modules: "nn.Module") -> int:
    """Bytes of the parameters and buffers of some modules; what they share counts once."""
    storages = {
        (tensor.device, storage.data_ptr()): storage.nbytes()
        for module in modules
        for tensor in (*module.parameters(), *module.buffers())
        if (storage := tensor.untyped_storage())
    }
    return sum(storages.values())
