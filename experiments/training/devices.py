"""Where, in which precision and on how many processes to train: what was asked for, and what the machine has."""

import contextlib
import hashlib
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import accelerate
import psutil
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]  # as documented

from experiments.config import ConfigError, TrainConfig, TrainingError
from tasks.engines.devices import pick_device

# `auto` where nothing is trained yet.
MIXED_PRECISION = {"auto": "no", "fp32": "no", "bf16": "bf16", "fp16": "fp16"}
ALL_THREADS = torch.get_num_threads()  # before any training asked for fewer
CPU_INFO = Path("/proc/cpuinfo")
FIRST = "project-dl/first-failure"
PATIENCE = timedelta(seconds=10)
Config = TypeVar("Config", bound=TrainConfig)


def placed(config: Config) -> Config:
    """The configuration with its device decided. Raises ConfigError for a device or precision that is not to be had."""
    device = resolve_device(config.device)
    if config.precision == "fp16" and device != "cuda":
        raise ConfigError(f"precision is 'fp16', which needs an NVIDIA GPU; valid on {device}: auto, fp32, bf16")
    return config.replace(device=device)


def resolve_device(name: str) -> str:
    """`auto` becomes cuda, mps or cpu; ConfigError for a device that this machine lacks."""
    try:
        return pick_device(name).type
    except ValueError as error:
        raise ConfigError(str(error)) from error


def precisions(device: str) -> list[str]:
    """The precisions worth trying on a device: fp32, and a half one that its hardware runs."""
    if device == "cuda":
        return ["fp32", "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"]
    return ["fp32", "bf16"] if device == "cpu" and cpu_runs_bf16() else ["fp32"]


def cpu_runs_bf16() -> bool:
    """Whether all layers run in bf16 on this CPU, fast or not: oneDNN's LSTM needs at least AVX-512."""
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def cpu_features() -> str:
    """A digest of the features that this CPU reports: virtual machines give different ones the same name."""
    features = _cpu_fact("flags") or _cpu_fact("Features")  # of x86, of ARM
    return hashlib.sha256(features.encode()).hexdigest()[:16]


def make_accelerator(device: str, precision: str) -> Accelerator:
    """An Accelerator for this training; processes started by torchrun find each other here.

    Accelerate keeps its state in a singleton, which refuses a second training with another precision in one process
    (as in `compare` and in tests), hence the reset.
    """
    AcceleratorState._reset_state(reset_partial_state="WORLD_SIZE" not in os.environ)
    return Accelerator(cpu=device == "cpu", mixed_precision=MIXED_PRECISION[precision])


def environment(config: TrainConfig, num_processes: int) -> dict[str, Any]:
    """What the bits of a training depend on besides its configuration."""
    return {
        "device": config.device,
        "precision": config.precision,
        "memory_format": config.memory_format,
        "threads": torch.get_num_threads(),
        "processes": num_processes,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "accelerate": accelerate.__version__,
    }


def describe(device: str) -> dict[str, str]:
    """`device_name` and `hardware` as they are tagged on runs."""
    cpu = f"{_cpu_model()}, {os.cpu_count()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB"
    if device == "cuda":
        count = torch.cuda.device_count()
        name = torch.cuda.get_device_name()
        return {"device_name": name, "hardware": f"{count} x {name}; {cpu}"}
    return {"device_name": _cpu_model() if device == "cpu" else f"{device} ({_cpu_model()})", "hardware": cpu}


def _cpu_model() -> str:
    return _cpu_fact("model name") or platform.processor() or platform.machine()


def _cpu_fact(name: str) -> str:
    """What Linux says of the first core; empty where it does not."""
    if CPU_INFO.exists():
        for line in CPU_INFO.read_text().splitlines():
            if line.startswith(name):
                return line.split(":", 1)[1].strip()
    return ""


@contextmanager
def failures_shared(accelerator: Accelerator) -> Iterator[None]:
    """Tell rank 0 what another rank dies of; on rank 0 raise that in place of what follows from it.

    What follows are a connection that closes, and SIGTERM from `torchrun`, which ends the other ranks. Raises
    TrainingError there.
    """
    if accelerator.num_processes == 1:
        yield
        return
    # The one in which `torchrun` has the ranks find each other: it outlives any of them.
    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=PATIENCE)
    try:
        yield
    except BaseException as error:
        if not accelerator.is_main_process:
            if isinstance(error, Exception):
                said = f"{type(error).__name__}: {error}"
                with contextlib.suppress(RuntimeError):  # `torchrun` itself may be gone, and its store with it
                    store.compare_set(FIRST, "", f"process {accelerator.process_index} failed with {said}")
        elif not isinstance(error, TrainingError):
            reason = ""
            with contextlib.suppress(RuntimeError):
                reason = store.get(FIRST).decode() if store.check([FIRST]) else ""
            if reason:
                raise TrainingError(reason) from error
        raise
