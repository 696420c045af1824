"""What a trial found, remembered: in the cache for later trainings, in a run for when it is resumed."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from mlflow import MlflowClient

from experiments.cnn.report import CNN
from experiments.config import CnnConfig
from experiments.tracking.store import checkpoint_store
from experiments.training import autotune, devices, speed_trial, trial_cache
from experiments.training.resume import resumed_config
from tests.support import checkpoints
from tests.support.speed_trials import decided, steps_take


def test_while_others_disturb_the_default_stays_and_nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_trial, "MOST_PREEMPTIONS", -1e9)
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
    for module, name, value in ((torch, "__version__", "9.9"), (autotune, "VERSION", 99)):
        monkeypatch.setattr(module, name, value)
        tried = len(ran)
        again()
        assert len(ran) > tried


def test_an_unwritable_cache_costs_a_trial_and_nothing_else(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    steps_take(monkeypatch, fp32=0.01, bf16=0.001)
    assert autotune.settle(CNN, decided())[0].precision == "bf16"


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
