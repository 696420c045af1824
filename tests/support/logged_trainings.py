"""Finished trainings in a store without any training: what `experiments.training.run` logs, with made-up numbers."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

CLASSES = ("cat", "dog", "owl")
SECONDS = 2.0  # an epoch


def log_training(
    model: str = "lenet5",
    *,
    dataset: str = "digits",
    seed: int = 0,
    validation: Sequence[float] = (0.5, 0.9, 0.8),
    test_accuracy: float = 0.75,
    parent: str = "",
    tags: dict[str, str] | None = None,
    reports: bool = True,
    run_id: str = "",
    own: bool = False,
    **settings: str,
) -> str:
    """Log a finished training of a classifier; the best epoch is the one with the highest of `validation`.

    Args: run_id: of a run that was begun; "" begins one.
    """
    client = MlflowClient()
    run_id = run_id or client.create_run(_experiment(client)).info.run_id
    best = 1 + int(np.argmax(validation))
    metrics = [
        Metric(name, value, 0, epoch)
        for epoch, accuracy in enumerate(validation, start=1)
        for name, value in {
            "val_accuracy": accuracy,
            "train_accuracy": accuracy + 0.05,
            "val_loss": 1 - accuracy,
            "train_loss": 0.9 - accuracy / 2,
            "epoch_seconds": SECONDS,
            "examples_per_second": 100.0 * epoch,
        }.items()
    ]
    tested = {"accuracy": test_accuracy, "precision": 0.7, "recall": 0.6, "f1": 0.65, "loss": 0.4}
    metrics += [Metric(f"test_{name}", value, 0, best) for name, value in tested.items()]
    params = {"seed": str(seed), "epochs": str(len(validation)), "learning_rate": "0.1", **settings}
    all_tags = {
        "task": "image-classification",
        "model": model,
        "dataset": dataset,
        "best_epoch": str(best),
        "mlflow.runName": f"{model} on {dataset}, seed {seed}",
        "parameters": "61706",
        "data_sha256": "d",
        "split_sha256": "s",
        **({"mlflow.parentRunId": parent} if parent else {}),
        **(tags or {}),
    }
    client.log_batch(
        run_id, metrics, [Param(*item) for item in params.items()], [RunTag(*item) for item in all_tags.items()]
    )
    if reports:
        _log_reports(client, run_id, own)
    client.set_terminated(run_id)
    return run_id


def log_comparison(name: str, report: str | None = "<title>report</title>") -> str:
    """Log the parent run of a comparison."""
    client = MlflowClient()
    run_id = client.create_run(_experiment(client), tags={"grid": "g", "mlflow.runName": name}).info.run_id
    if report is not None:
        client.log_text(run_id, report, "reports/comparison.html")
    client.set_terminated(run_id)
    return run_id


def _experiment(client: MlflowClient) -> str:
    found = client.get_experiment_by_name("cnn")
    return found.experiment_id if found else client.create_experiment("cnn", (Path.cwd() / "artifacts").as_uri())


def _log_reports(client: MlflowClient, run_id: str, own: bool) -> None:
    """Three images of each class, the user's own or not; one cat was taken for a dog."""
    labels = np.repeat([0, 1, 2], 3)
    predicted = labels.copy()
    predicted[0] = 1
    report = {
        name: {"precision": 0.5, "recall": 0.5, "f1-score": 0.25 * place, "support": 3.0}
        for place, name in enumerate(CLASSES, start=1)
    }
    with tempfile.TemporaryDirectory() as folder:
        reports = Path(folder) / "reports"
        reports.mkdir()
        np.savez_compressed(reports / "test_predictions.npz", labels=labels, probabilities=np.eye(3)[predicted])
        pixels = np.arange(16, dtype=np.uint8).reshape(1, 4, 4, 1)
        files = {"files": np.array([f"{CLASSES[0]}/1.png"])} if own else {}
        np.savez_compressed(reports / "test_mistakes.npz", index=np.array([0]), pixels=pixels, **files)
        everything = {**report, "accuracy": 8 / 9, "macro avg": {}, "weighted avg": {}}
        (reports / "classification_report.json").write_text(json.dumps(everything))
        client.log_artifacts(run_id, folder)
