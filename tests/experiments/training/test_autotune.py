"""Precision, memory format and threads: what a trial takes, what it leaves alone, and how it is remembered."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient

from experiments.cnn.report import CNN
from experiments.cnn.setup import CnnTraining
from experiments.config import CnnConfig, ConfigError, Seq2SeqConfig
from experiments.seq2seq.report import SEQ2SEQ
from experiments.tracking.store import checkpoint_store
from experiments.training import autotune, devices, speed_trial, trial_cache
from experiments.training.resume import resumed_config
from experiments.training.speed_trial import Setting, Trial
from experiments.training.state import StepResult
from tests.support import checkpoints


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


def test_while_others_disturb_the_default_stays_and_nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_trial, "MOST_PREEMPTIONS", -1)
    steps_take(monkeypatch, fp32=0.010, bf16=0.0085)
    config, choice = autotune.settle(CNN, decided())
    assert config.precision == "fp32" and "other programs disturbed the trial" in str(choice)
    assert not list(trial_cache.cache_folder().glob("*"))
    assert autotune.settle(CNN, decided(seed=1))[1] is choice  # still one choice for all seeds


def test_a_choice_is_remembered_for_other_seeds_and_survives_a_damaged_or_foreign_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran = steps_take(monkeypatch, fp32=0.01, bf16=0.001)
    first = autotune.settle(CNN, decided())
    (file,) = trial_cache.cache_folder().glob("*")
    good = file.read_bytes()
    tried = len(ran)

    def again(**options: Any) -> Any:
        autotune._chosen.clear()  # as in another process
        return autotune.settle(CNN, decided(**options))

    assert again() == first and again(seed=5, learning_rate=0.5, epochs=7)[1] == first[1] and len(ran) == tried
    foreign = {**json.loads(good), "facts": {"device": "another"}}
    unknown = {**json.loads(good), "setting": "int8 channels_last 2 threads"}
    for damaged in (good[:40], b"\xff\x00", json.dumps(foreign).encode(), json.dumps(unknown).encode(), b"[]"):
        file.write_bytes(damaged)
        assert again()[1].setting == first[1].setting and len(ran) > tried
        assert file.read_bytes() == good
        tried = len(ran)
    again(batch_size=16)
    assert len(ran) > tried
    for features in ("avx2", "avx2 avx512_bf16"):  # two machines with one name, as virtual ones have
        (tmp_path / "cpuinfo").write_text(f"model name\t: AMD EPYC\nflags\t\t: {features}\n")
        monkeypatch.setattr(devices, "CPU_INFO", tmp_path / "cpuinfo")
        tried = len(ran)
        again()
        assert len(ran) > tried
    monkeypatch.setattr(torch, "__version__", "9.9")
    tried = len(ran)
    again()
    assert len(ran) > tried


def test_an_unwritable_cache_costs_a_trial_and_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    steps_take(monkeypatch, fp32=0.01, bf16=0.001)
    assert autotune.settle(CNN, decided())[0].precision == "bf16"


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


def test_a_trial_is_of_whole_images_also_where_the_first_epochs_are_of_small_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step, sizes = CnnTraining.step, set()

    def noted(training: CnnTraining, model: Any, batch: Any) -> StepResult:
        sizes.add(batch.images.shape[-1])
        return step(training, model, batch)

    monkeypatch.setattr(CnnTraining, "step", noted)
    autotune.settle(CNN, decided(model="resnet20", epochs=2, small_size=24))
    assert sizes == {32}


def test_a_training_shorter_than_its_trial_takes_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_trial, "FRACTION", 1e-9)
    config, choice = autotune.settle(CNN, decided())
    assert config.precision == "fp32" and str(choice) == "the default, as there was no time for a trial"
    assert not list(trial_cache.cache_folder().glob("*"))


@pytest.mark.parametrize(("preemptions", "taken"), [(-1, 1), (1e9, 2)])
def test_one_thread_is_tried_where_other_programs_make_several_wait_for_each_other(
    monkeypatch: pytest.MonkeyPatch, preemptions: float, taken: int
) -> None:
    monkeypatch.setattr(speed_trial, "MOST_PREEMPTIONS", preemptions)
    monkeypatch.setattr(speed_trial, "MOST_SECONDS", 2.5)
    monkeypatch.setattr(Trial, "_step", lambda _, setting: {1: 0.01, 2: 2.0}[setting.threads])
    config, choice = autotune.settle(CNN, decided(precision="fp32"))
    assert config.threads == taken
    assert ("fp32 channels_last 1 thread 400/s, fp32 channels_last 2 threads 2/s" in str(choice)) == (taken == 1)


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


def test_a_resumed_run_keeps_its_choice_unless_another_is_given(store: Path) -> None:
    client = MlflowClient()
    run_id = client.create_run("0", tags={"entry_point": "cnn"}).info.run_id
    first = decided(precision="bf16", memory_format="contiguous", threads=1)
    client.log_dict(run_id, {**first.model_dump(), "speed_trial": "the fastest of 6"}, "config.json")

    def resumed(given: set[str], **options: Any) -> tuple[str, str, int]:
        config = resumed_config(CnnConfig(resume=run_id, device="cpu", **options), frozenset(given | {"resume"}))
        return config.precision, config.memory_format, config.threads

    assert resumed(set()) == resumed({"precision", "threads", "memory_format"}) == ("bf16", "contiguous", 1)
    assert resumed({"precision", "threads"}, precision="fp32", threads=2) == ("fp32", "contiguous", 2)
    before_trials = {name: value for name, value in first.model_dump().items() if name != "memory_format"}
    client.log_dict(run_id, {**before_trials, "threads": 0}, "config.json")
    assert resumed(set()) == ("bf16", "channels_last", devices.ALL_THREADS)


@pytest.mark.parametrize(("processes", "expected"), [(1, 1), (2, 2)])
def test_threads_chosen_for_another_number_of_processes_do_not_stay(
    store: Path, monkeypatch: pytest.MonkeyPatch, processes: int, expected: int
) -> None:
    client = MlflowClient()
    run = client.create_run("0", tags={"entry_point": "cnn"})
    client.log_dict(run.info.run_id, decided(threads=1).model_dump(), "config.json")
    environment = {"environment": {"processes": processes}}
    checkpoint_store(run).save(1, checkpoints.tensors(1), {**checkpoints.values(1), **environment})
    config = CnnConfig(resume=run.info.run_id, device="cpu")
    assert resumed_config(config, frozenset({"resume"})).threads == expected
    given = resumed_config(config.replace(threads=1), frozenset({"resume", "threads"}))
    assert given.threads == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert resumed_config(config, frozenset({"resume"})).threads == 3 - expected


def test_fp16_is_refused_without_a_gpu() -> None:
    with pytest.raises(ConfigError, match="precision is 'fp16', which needs an NVIDIA GPU; valid on cpu: auto, fp32"):
        decided(precision="fp16")
