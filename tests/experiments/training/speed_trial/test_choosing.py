"""Precision, memory format and threads: what a trial of settings takes, beside other programs too."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from experiments.cnn.report import CNN
from experiments.cnn.setup import CnnTraining
from experiments.config import CnnConfig, ConfigError, Seq2SeqConfig
from experiments.seq2seq.report import SEQ2SEQ
from experiments.training import autotune, devices, speed_trial, trial_cache
from experiments.training.speed_trial import Setting, Trial
from experiments.training.state import StepResult
from tests.support.speed_trials import decided, real_steps_take_a_second, steps_take


def test_what_is_open_is_tried_and_what_is_given_is_kept() -> None:
    everything = autotune.settings(decided())
    assert everything[0] == Setting("fp32", "channels_last", 2)
    assert set(everything) == {
        *(Setting(precision, form, 2) for precision in ("fp32", "bf16") for form in ("channels_last", "contiguous")),
        *(Setting(precision, "channels_last", 1) for precision in ("fp32", "bf16")),
    }
    given = decided(precision="bf16", memory_format="contiguous", threads=1)
    assert autotune.settings(given) == [Setting("bf16", "contiguous", 1)]
    sequences = SEQ2SEQ.decide(Seq2SeqConfig(device="cpu", threads=2))
    assert autotune.settings(sequences) == [Setting(precision, "channels_last", 2) for precision in ("fp32", "bf16")]


@pytest.mark.parametrize(("bf16", "taken"), [(0.010, "fp32"), (0.0095, "fp32"), (0.008, "bf16"), (0.05, "fp32")])
def test_another_setting_must_be_ten_percent_faster(
    monkeypatch: pytest.MonkeyPatch, threads: list[int], bf16: float, taken: str
) -> None:
    ran = steps_take(monkeypatch, fp32=0.010, bf16=bf16)
    config, choice = autotune.settle(CNN, decided())
    assert (config.precision, config.memory_format, config.threads) == (taken, "channels_last", 2)
    assert "fp32 channels_last 2 threads" in str(choice) and threads[-1] == 2
    assert ran.count(Setting("fp32", "contiguous", 2)) <= speed_trial.ROUNDS  # hopeless: dropped after its first turn


@pytest.mark.parametrize(("preemptions", "taken"), [(-1e9, 1), (1e9, 2)])
def test_one_thread_is_tried_where_other_programs_make_several_wait_for_each_other(
    monkeypatch: pytest.MonkeyPatch, preemptions: float, taken: int
) -> None:
    monkeypatch.setattr(speed_trial, "MOST_PREEMPTIONS", preemptions)
    monkeypatch.setattr(speed_trial, "MOST_SECONDS", 2.5)
    monkeypatch.setattr(Trial, "_step", lambda _, setting: {1: 0.01, 2: 2.0}[setting.threads])
    config, choice = autotune.settle(CNN, decided(precision="fp32"))
    assert config.threads == taken
    assert ("fp32 channels_last 1 thread 400/s, fp32 channels_last 2 threads 2.00/s" in str(choice)) == (taken == 1)


def test_one_thread_that_is_faster_is_tried_by_all_and_tried_again_by_later_processes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ran: list[Setting] = []

    def step(_: Trial, setting: Setting) -> float:
        ran.append(setting)
        return {("fp32", 1): 0.002, ("bf16", 1): 0.001, ("fp32", 2): 0.01, ("bf16", 2): 0.02}[setting[::2]]

    monkeypatch.setattr(Trial, "_step", step)
    monkeypatch.setattr(speed_trial, "MOST_SECONDS", 60.0)
    assert autotune.settle(CNN, decided())[0].threads == 1
    assert {setting.threads for setting in ran if setting.precision == "bf16"} == {1}  # no time lost on several
    assert not list(trial_cache.cache_folder().glob("*"))


def test_threads_that_cost_more_than_they_bring_on_a_few_images_are_tried_on_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def step(trial: Trial, setting: Setting) -> float:
        overhead, image = {1: (0.0, 0.001), 2: (0.01, 0.0005)}[setting.threads]
        return overhead + trial._part * image / (2 if setting.precision == "bf16" else 1)

    monkeypatch.setattr(Trial, "_step", step)
    monkeypatch.setattr(speed_trial, "FRACTION", 1e6)
    monkeypatch.setattr(speed_trial, "MOST_SECONDS", 60.0)
    config, choice = autotune.settle(CNN, decided(batch_size=200))
    assert (config.precision, config.threads) == ("bf16", 2), choice
    assert list(trial_cache.cache_folder().glob("*"))


class LargeNetwork:
    """Steps of one whose weights take as long as five images, in time that only these steps take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.steps, self.cold = 0.0, 0, 0.0
        monkeypatch.setattr(Trial, "_step", lambda *given: self.step(*given))
        monkeypatch.setattr(Trial, "_check", lambda *given: self.step(*given))
        monkeypatch.setattr(speed_trial, "time", SimpleNamespace(perf_counter=lambda: self.now))
        monkeypatch.setattr(speed_trial, "MOST_SECONDS", 2.5)
        monkeypatch.setattr(speed_trial, "FRACTION", 0.1)

    def step(self, trial: Trial, setting: Setting) -> float:
        fixed, image = {"fp32": (0.1, 0.02), "bf16": (0.15, 0.01)}[setting.precision]  # casts the weights as well
        seconds = (fixed + trial._part * image) * (1 + 0.05 * (setting.memory_format == "contiguous"))
        seconds = seconds * 2 / setting.threads + (0 if self.steps else self.cold)
        self.steps += 1
        self.now += seconds
        return seconds


LARGE = {"batch_size": 64, "train_size": 1000, "epochs": 100}


@pytest.mark.parametrize(("whole_steps", "taken"), [(speed_trial.WHOLE_STEPS, "bf16"), (0, "fp32")])
def test_a_large_network_gets_a_longer_trial_of_larger_parts_which_is_announced_and_remembered(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], whole_steps: int, taken: str
) -> None:
    network = LargeNetwork(monkeypatch)
    monkeypatch.setattr(speed_trial, "WHOLE_STEPS", whole_steps)
    config, choice = autotune.settle(CNN, decided(**LARGE))
    assert config.precision == taken, choice
    said = re.search(r"trying precision, memory format and threads for up to (\d+) s", capsys.readouterr().out)
    assert (said is not None and 5 < int(said[1]) <= 30) == bool(whole_steps)
    assert network.now < 40 if whole_steps else network.now < 5
    assert bool(list(trial_cache.cache_folder().glob("*"))) == bool(whole_steps)


def test_a_short_training_of_a_large_network_has_a_short_trial_that_is_not_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = LargeNetwork(monkeypatch)
    assert autotune.settle(CNN, decided(**LARGE | {"epochs": 10}))[1].speeds
    assert network.now < 4 and not list(trial_cache.cache_folder().glob("*"))


def test_programs_that_disturb_later_do_not_take_the_time_away(monkeypatch: pytest.MonkeyPatch) -> None:
    network = LargeNetwork(monkeypatch)
    monkeypatch.setattr(Trial, "_disturbed", lambda trial: trial._part > speed_trial.SMALLEST_PART)
    config, choice = autotune.settle(CNN, decided(**LARGE))
    assert config.precision == "bf16" and "other programs disturbed the trial" in str(choice) and network.now < 40


@pytest.mark.parametrize("disturbed", [True, False])
def test_a_slow_first_step_or_a_busy_machine_does_not_make_a_network_large(
    monkeypatch: pytest.MonkeyPatch, disturbed: bool
) -> None:
    network = LargeNetwork(monkeypatch)
    network.cold = 0 if disturbed else 1.4
    monkeypatch.setattr(Trial, "_disturbed", lambda _: disturbed)
    autotune.settle(CNN, decided(**LARGE))
    assert network.now < 6


def test_a_training_shorter_than_its_trial_takes_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_trial, "FRACTION", 1e-9)
    config, choice = autotune.settle(CNN, decided())
    assert config.precision == "fp32" and str(choice) == "the default, as there was no time for a trial"
    assert not list(trial_cache.cache_folder().glob("*"))


@pytest.mark.parametrize("epochs", [1, 2])
def test_a_trial_is_of_whole_images_also_where_the_first_epochs_are_of_small_ones(
    monkeypatch: pytest.MonkeyPatch, epochs: int
) -> None:
    step, sizes = CnnTraining.step, set()

    def noted(training: CnnTraining, model: Any, batch: Any) -> StepResult:
        sizes.add(batch.images.shape[-1])
        return step(training, model, batch)

    monkeypatch.setattr(CnnTraining, "step", noted)
    autotune.settle(CNN, decided(model="resnet20", epochs=epochs, small_size=24))
    assert sizes == {32}


def test_a_trial_changes_neither_random_numbers_nor_the_weights_that_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    def begun(config: CnnConfig) -> CnnTraining:
        return CNN.prepare(config, devices.make_accelerator("cpu", config.precision))

    real_steps_take_a_second(monkeypatch)
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    settled, choice = autotune.settle(CNN, decided())
    assert torch.equal(torch.rand(4), expected)
    assert len(choice.speeds) > 1
    after, straight = begun(settled), begun(decided(**choice.setting._asdict()))
    for name, value in straight.state.network.state_dict().items():
        assert torch.equal(after.state.network.state_dict()[name], value), name


def test_fp16_is_refused_without_a_gpu() -> None:
    with pytest.raises(ConfigError, match="precision is 'fp16', which needs an NVIDIA GPU; valid on cpu: auto, fp32"):
        decided(precision="fp16")
