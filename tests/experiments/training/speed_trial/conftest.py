"""A trial of settings as tests want it."""

from pathlib import Path

import pytest
import torch

from experiments.training import autotune, devices, speed_trial


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """A cache of its own, no memory of other tests, time for a trial, quiet, and what counts as a CPU with two threads
    and bf16; returns the numbers of threads that were set."""
    monkeypatch.setenv("PROJECT_DL_SPEED_TRIAL", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(autotune, "_chosen", {})
    monkeypatch.setattr(speed_trial, "MOST_SECONDS", 0.5)
    monkeypatch.setattr(speed_trial, "FRACTION", 100.0)
    monkeypatch.setattr(speed_trial, "MOST_PREEMPTIONS", 1e9)
    monkeypatch.setattr(devices, "ALL_THREADS", 2)
    monkeypatch.setattr(devices, "precisions", lambda _: ["fp32", "bf16"])
    put_in_force: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", put_in_force.append)
    return put_in_force
