"""Settings that cannot run, give NaN or run out of memory: a trial passes them over and says so."""

from typing import Any

import pytest
import torch

from experiments.cnn.report import CNN
from experiments.cnn.setup import CnnTraining
from experiments.training import autotune, speed_trial
from experiments.training.speed_trial import Setting, Trial
from experiments.training.state import StepResult
from tests.support.speed_trials import decided, real_steps_take_a_second, steps_take


def test_bf16_that_gives_nan_is_not_taken_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    steps_take(monkeypatch, fp32=0.01, bf16=0.001)
    step = CnnTraining.step

    def breaks(training: CnnTraining, model: Any, batch: Any) -> StepResult:
        result = step(training, model, batch)
        return result._replace(loss=result.loss * float("nan")) if torch.is_autocast_enabled("cpu") else result

    monkeypatch.setattr(CnnTraining, "step", breaks)
    config, choice = autotune.settle(CNN, decided())
    assert config.precision == "fp32" and "bf16 channels_last 2 threads gives NaN here" in str(choice)


def test_a_trial_that_runs_out_of_memory_uses_smaller_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    real_steps_take_a_second(monkeypatch)
    step, sizes = CnnTraining.step, []

    def limited(training: CnnTraining, model: Any, batch: Any) -> StepResult:
        sizes.append(len(batch.images))
        if sizes[-1] > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        return step(training, model, batch)

    monkeypatch.setattr(CnnTraining, "step", limited)
    _, choice = autotune.settle(CNN, decided())
    assert sizes[0] == speed_trial.SMALLEST_PART and sizes[-1] == 2 and len(choice.speeds) > 1


def test_without_memory_for_a_single_image_the_training_itself_may_try(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> StepResult:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")

    monkeypatch.setattr(CnnTraining, "step", full)
    _, choice = autotune.settle(CNN, decided())
    assert choice.setting == Setting("fp32", "channels_last", 2)
    assert str(choice).startswith("the default, as there was no memory for a trial; ")


def test_what_did_not_fit_into_memory_is_tried_again_by_later_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    steps_take(monkeypatch, fp32=0.01, bf16=0.001)
    honest = Trial._check

    def full(trial: Trial, setting: Setting) -> None:
        if setting.precision == "bf16":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")
        honest(trial, setting)

    with monkeypatch.context() as patch:
        patch.setattr(Trial, "_check", full)
        config, choice = autotune.settle(CNN, decided())
    assert config.precision == "fp32" and "bf16 channels_last 2 threads is out of memory" in str(choice)
    autotune._chosen.clear()  # as in another process
    assert autotune.settle(CNN, decided())[0].precision == "bf16"


def test_settings_that_cannot_run_here_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    step = CnnTraining.step

    def no_bf16(training: CnnTraining, model: Any, batch: Any) -> StepResult:
        if torch.is_autocast_enabled("cpu"):
            raise RuntimeError("mkldnn_bf16 path needs avx512")
        return step(training, model, batch)

    monkeypatch.setattr(CnnTraining, "step", no_bf16)
    config, choice = autotune.settle(CNN, decided(threads=2))
    assert config.precision == "fp32" and "bf16 channels_last 2 threads does not run here" in str(choice)


def test_where_only_another_setting_runs_the_default_is_left_to_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    steps_take(monkeypatch, fp32=0.01, bf16=0.001)
    honest = Trial._turn

    def full(trial: Trial, setting: Setting, warm_up: bool) -> None:
        if setting.precision == "fp32":
            trial.failed[setting] = "is out of memory"
        else:
            honest(trial, setting, warm_up)

    monkeypatch.setattr(Trial, "_turn", full)
    assert autotune.settle(CNN, decided())[0].precision == "fp32"
