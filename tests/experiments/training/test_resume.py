"""Cut off and resumed: killed at any moment, damaged checkpoints, and what is refused."""

import hashlib
import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from experiments import train_cnn
from experiments.config import ConfigError
from experiments.data import images
from experiments.data.sources import RawImages
from experiments.training.resume import claim
from tests.support.killing import train_and_die
from tests.support.runs import (
    TINY,
    artifacts,
    assert_same_weights,
    cut_off_at,
    histories,
    only_run,
    uninterrupted,
    weights,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> tuple[dict, dict]:
    """Metrics and last weights of a run that nothing happened to."""
    return uninterrupted(train_cnn.main, [*TINY, "--epochs", "3"], tmp_path_factory.mktemp("whole"), empty_store)


@pytest.mark.parametrize(
    ("where", "epoch"),
    [("in an epoch", 1), ("in an epoch", 3), ("before logging", 2), ("after logging", 2), ("while testing", 3)],
)
def test_a_killed_run_is_resumed_to_the_same_weights_and_metrics(
    where: str, epoch: int, store: Path, whole: tuple[dict, dict]
) -> None:
    assert train_and_die(where, epoch, [*TINY, "--epochs", "3"]) == -signal.SIGKILL
    run = only_run()
    assert run.info.status == "RUNNING"
    result = train_cnn.main(["--resume", run.info.run_id])
    assert result is not None and result.run_id == run.info.run_id
    assert only_run().info.status == "FINISHED"
    expected_metrics, expected_weights = whole
    assert histories(run.info.run_id) == expected_metrics
    assert_same_weights(weights(run.info.run_id, 3), expected_weights)


@pytest.fixture
def cut_off(store: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that failed after its third epoch of four."""
    with cut_off_at(4, monkeypatch):
        train_cnn.main([*TINY, "--epochs", "4"])
    return only_run()


def test_a_damaged_checkpoint_is_refused_by_name_and_the_one_before_it_is_used(
    cut_off: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    file = artifacts(cut_off) / "checkpoints/epoch-0003/model.safetensors"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    result = train_cnn.main(["--resume", cut_off.info.run_id])
    printed = capsys.readouterr()
    assert "epoch-0003/model.safetensors is damaged" in printed.err
    assert "resuming after epoch 2" in printed.out
    uncut = train_cnn.main([*TINY, "--epochs", "4"])
    assert result is not None and uncut is not None
    assert histories(result.run_id) == histories(uncut.run_id)
    assert_same_weights(weights(result.run_id, 4), weights(uncut.run_id, 4))


@pytest.mark.parametrize("gone", [False, True])
def test_without_a_usable_checkpoint_nothing_is_touched(cut_off: Run, gone: bool) -> None:
    folder = artifacts(cut_off) / "checkpoints"
    for manifest in folder.glob("*/manifest.json"):
        manifest.write_text("{}")
    if gone:
        shutil.rmtree(folder)
    refused = "has no checkpoint; valid: on the" if gone else "can be used"
    with pytest.raises(ConfigError, match=f"{folder} {refused}"):
        train_cnn.main(["--resume", cut_off.info.run_id])
    assert MlflowClient().get_run(cut_off.info.run_id).info.status == "FAILED"


def test_other_data_than_those_of_the_run_are_refused(cut_off: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id, honest, before = cut_off.info.run_id, images.load_raw, cut_off.data.tags
    with monkeypatch.context() as patch:

        def inverted(name: str, data_dir: str) -> RawImages:
            raw = honest(name, data_dir)
            return raw._replace(train_images=np.invert(raw.train_images))

        patch.setattr(images, "load_raw", inverted)
        theirs = before["data_sha256"][:12]
        expected = f"data_dir is 'other', and its data_sha256 is .*{run_id} {theirs}.*; valid"
        with pytest.raises(ConfigError, match=expected):
            train_cnn.main(["--resume", run_id, "--data_dir", "other"])
    after = MlflowClient().get_run(run_id)
    assert after.data.tags["data_sha256"] == before["data_sha256"] and after.info.status == "FAILED"
    MlflowClient().set_tag(run_id, "split_sha256", "0" * 64)
    with pytest.raises(ConfigError, match=f"its split_sha256 is .*, that of run {run_id} 000000000000"):
        train_cnn.main(["--resume", run_id])


def test_a_checkpoint_of_another_network_is_refused(cut_off: Run) -> None:
    path = artifacts(cut_off) / "config.json"
    path.write_text(path.read_text().replace('"lenet5"', '"resnet20"'))
    with pytest.raises(ConfigError, match="the checkpoint of epoch 3 is of another network"):
        train_cnn.main(["--resume", cut_off.info.run_id])


FOREIGN = ["[" * 100_000, "[]", "3", "null", "{", '{"surplus": 1}', '{"epochs": -3}', '{"model": 3}']


def test_a_configuration_that_is_none_is_refused_in_one_line(cut_off: Run) -> None:
    for content in FOREIGN:
        (artifacts(cut_off) / "config.json").write_text(content)
        with pytest.raises(ConfigError, match=r"that run (has no config\.json|is not one) of this") as caught:
            train_cnn.main(["--resume", cut_off.info.run_id])
        assert "\n" not in str(caught.value)


HISTORY = [{"val_accuracy": 0.5, "val_loss": 1.0}]
STATES = [{}, {"history": 3}, {"history": [3]}, {"history": [{}]}, {"history": HISTORY, "environment": [1]}]


def test_a_checkpoint_with_a_foreign_state_is_passed_over_or_refused_in_one_line(cut_off: Run) -> None:
    for values in STATES:
        for epoch in sorted((artifacts(cut_off) / "checkpoints").glob("epoch-*")):
            content = json.dumps(values).encode()
            (epoch / "state.json").write_bytes(content)
            manifest = json.loads((epoch / "manifest.json").read_text())
            manifest["sha256"]["state.json"] = hashlib.sha256(content).hexdigest()
            (epoch / "manifest.json").write_text(json.dumps(manifest))
        with pytest.raises(ConfigError, match=r"no checkpoint in .* can be used|is of another network") as caught:
            train_cnn.main(["--resume", cut_off.info.run_id])
        assert "\n" not in str(caught.value)
    assert MlflowClient().get_run(cut_off.info.run_id).info.status == "FAILED"


def test_resume_refuses_another_configuration_and_a_run_in_use(cut_off: Run) -> None:
    run_id = cut_off.info.run_id
    with pytest.raises(ConfigError, match=r"model is 'resnet20', and run .* was started with 'lenet5'"):
        train_cnn.main(["--resume", run_id, "--model", "resnet20"])
    with pytest.raises(ConfigError, match=r"epochs is 9, and run .* was started with 4"):
        train_cnn.main(["--resume", run_id, "--epochs", "9"])
    with claim(run_id), pytest.raises(ConfigError, match="is being trained by another process"):
        train_cnn.main(["--resume", run_id])
    assert MlflowClient().get_run(run_id).info.status == "FAILED"


def test_resume_refuses_a_finished_run_and_one_of_another_program(store: Path) -> None:
    result = train_cnn.main([*TINY, "--epochs", "1", "--register", "no"])
    assert result is not None
    with pytest.raises(ConfigError, match="is FINISHED"):
        train_cnn.main(["--resume", result.run_id])
    foreign = MlflowClient().create_run("0").info.run_id
    with pytest.raises(ConfigError, match=r"has no config\.json"):
        train_cnn.main(["--resume", foreign])


def test_resumed_by_mlflow_run_the_wrapper_points_to_the_run(cut_off: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = MlflowClient().create_run("0").info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", wrapper)
    declared_defaults = ["--model", "lenet5", "--dataset", "digits", "--seed", "0", "--data_dir", "data"]
    result = train_cnn.main([*declared_defaults, "--resume", cut_off.info.run_id])
    assert result is not None and result.run_id == cut_off.info.run_id
    assert MlflowClient().get_run(wrapper).data.tags["resumed_run"] == cut_off.info.run_id
