"""Checkpoints for tests, and what they must hold."""

from pathlib import Path
from typing import Any

import torch

from experiments.tracking.checkpoint import Checkpoint, CheckpointStore

Tensors = dict[str, dict[str, torch.Tensor]]


def tensors(epoch: int) -> Tensors:
    generator = torch.Generator().manual_seed(epoch)
    return {
        "model": {
            "weight": torch.randn(2, 3, generator=generator),
            "special": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]),
            "half": torch.randn(5, generator=generator).bfloat16(),
            "count": torch.tensor(epoch),
            "channels_last": torch.randn(2, 3, 4, 4, generator=generator).to(memory_format=torch.channels_last),
        },
        "optimizer": {"0.step": torch.tensor(float(epoch)), "0.empty": torch.zeros(0, 3)},
    }


def values(epoch: int, best: int = 1) -> dict[str, Any]:
    return {"history": [{"val_loss": 1 / 3 * number} for number in range(epoch)], "best": best, "none": None}


def assert_is(checkpoint: Checkpoint | None, epoch: int) -> None:
    assert checkpoint is not None
    assert checkpoint.epoch == epoch
    for part, expected in tensors(epoch).items():
        assert set(checkpoint.tensors[part]) == set(expected)
        for name, tensor in expected.items():
            loaded = checkpoint.tensors[part][name]
            assert (loaded.dtype, loaded.shape) == (tensor.dtype, tensor.shape)
            as_bytes = [one.contiguous().reshape(-1).view(torch.uint8) for one in (loaded, tensor)]
            assert torch.equal(*as_bytes), f"{part} {name}"


def newest(store: CheckpointStore) -> tuple[Checkpoint | None, list[str]]:
    warnings: list[str] = []
    return store.load_newest(lambda checkpoint: checkpoint.values["best"], warnings.append), warnings


def flip(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)
