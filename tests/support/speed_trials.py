"""Trials of settings whose steps take the time that a test wants."""

from typing import Any

import pytest

from experiments.cnn.report import CNN
from experiments.config import CnnConfig
from experiments.training import speed_trial
from experiments.training.speed_trial import Setting, Trial


def decided(**options: Any) -> CnnConfig:
    return CNN.decide(CnnConfig(**{"train_size": 200, "epochs": 1, "batch_size": 32, "device": "cpu", **options}))


def steps_take(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> list[Setting]:
    """Let steps of a precision take these seconds, and one thread or contiguous memory one more; returns what ran."""
    ran: list[Setting] = []

    def step(_: Trial, setting: Setting) -> float:
        ran.append(setting)
        return seconds[setting.precision] + (setting.threads == 1) + (setting.memory_format == "contiguous")

    monkeypatch.setattr(Trial, "_step", step)
    monkeypatch.setattr(speed_trial, "MOST_SECONDS", 60.0)
    return ran


def real_steps_take_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let steps do their work and count as one second, however busy the machine is."""
    honest = Trial._step
    monkeypatch.setattr(Trial, "_step", lambda *given: 1.0 if honest(*given) else 0.0)
    monkeypatch.setattr(speed_trial, "MOST_SECONDS", 60.0)
