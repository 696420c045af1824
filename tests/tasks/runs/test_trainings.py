"""Finished trainings, read from MLflow."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from tasks.runs import trainings
from tasks.runs.trainings import (
    class_report,
    classifier_predictions,
    comparison_names,
    find_trainings,
    finished_trainings,
    parameter_count,
    report_file,
    training_curves,
)
from tests.support.logged_trainings import CLASSES, log_comparison, log_training

TASK = "image-classification"


def test_finished_trainings_are_read_with_all_that_they_logged(store: Path) -> None:
    parent = log_comparison("two models")
    run_id = log_training("resnet20", seed=3, parent=parent, test_accuracy=0.8)
    (found,) = finished_trainings(TASK)
    assert (found.run_id, found.model, found.dataset, found.seed, found.parent_id) == (
        run_id,
        "resnet20",
        "digits",
        3,
        parent,
    )
    assert found.best_epoch == 2
    assert found.metrics["test_accuracy"] == 0.8
    assert found.settings["learning_rate"] == "0.1"
    assert not any(name.startswith("mlflow.") for name in found.tags)
    assert find_trainings([run_id, parent, "nothing"]) == {run_id: found}
    assert comparison_names([parent, run_id]) == {parent: "two models"}


def test_what_did_not_go_to_its_end_is_left_out(store: Path) -> None:
    client = MlflowClient()
    client.set_terminated(log_training(), "FAILED")
    client.delete_run(log_training())
    trial = log_training()
    client.delete_tag(trial, "best_epoch")
    untested = client.create_run("0", tags={"task": TASK, "model": "m", "dataset": "d", "best_epoch": "1"})
    client.log_param(untested.info.run_id, "seed", "0")
    client.set_terminated(untested.info.run_id)
    assert finished_trainings(TASK) == []
    assert finished_trainings("sequence-reversal") == []
    assert find_trainings([]) == {}


@pytest.mark.parametrize("bulk", [True, False])
def test_curves_by_epoch(store: Path, monkeypatch: pytest.MonkeyPatch, bulk: bool) -> None:
    one, other = log_training(validation=(0.1, 0.2)), log_training(validation=(0.3, 0.4, 0.5))
    if not bulk:  # a tracking server has no such question
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        monkeypatch.delattr(SqlAlchemyStore, "get_metric_history_bulk")
    monkeypatch.setattr(trainings, "RUNS_A_QUESTION", 1)
    found = training_curves([one, other], ["val_accuracy", "unknown"])
    assert found == {one: {"val_accuracy": {1: 0.1, 2: 0.2}}, other: {"val_accuracy": {1: 0.3, 2: 0.4, 3: 0.5}}}
    assert list(found[other]["val_accuracy"]) == [1, 2, 3]


def test_predictions_and_report(store: Path) -> None:
    run_id = log_training()
    assert classifier_predictions(run_id).confusion().tolist() == [[2, 1, 0], [0, 3, 0], [0, 0, 3]]
    report = class_report(run_id)
    assert tuple(report) == CLASSES
    assert report["owl"]["f1-score"] == 0.75


def test_missing_and_damaged_reports_are_said(store: Path) -> None:
    bare = log_training(reports=False)
    for read in (classifier_predictions, class_report, report_file):
        with pytest.raises(FileNotFoundError, match=bare):
            read(bare)
    damaged = log_training(reports=False)
    for name in ("test_predictions.npz", "classification_report.json"):
        MlflowClient().log_text(damaged, "[1, 2", f"reports/{name}")
    for read in (classifier_predictions, class_report):
        with pytest.raises(FileNotFoundError, match="cannot be read"):
            read(damaged)
    for content in ("", "PK\x03\x04cut off"):
        MlflowClient().log_text(damaged, content, "reports/test_predictions.npz")
        with pytest.raises(FileNotFoundError, match="cannot be read"):
            classifier_predictions(damaged)


def test_parameters_as_logged_or_of_the_logged_model(store: Path) -> None:
    import mlflow

    import models
    from tasks import registry
    from tests.support.small_platform import save_cnn

    log_training(tags={"parameters": "123"})
    (told,) = finished_trainings(TASK)
    assert parameter_count(told) == 123
    run_id = log_training(tags={"parameters": ""})
    assert parameter_count(find_trainings([run_id])[run_id]) is None
    save_cnn(store / "model", "lenet5")
    with mlflow.start_run(run_id):
        registry.package("model", TASK, store / "model", "lenet5 on digits")
    network = models.build("lenet5", 10, 1)
    assert parameter_count(find_trainings([run_id])[run_id]) == sum(p.numel() for p in network.parameters())
