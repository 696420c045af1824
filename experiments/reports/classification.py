"""What is measured and written down of every classifier, whatever it classifies: metrics, report, figures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.reports.figures import CURVE_LABELS, confusion, plain, save, save_curves, single
from tasks.texts import inert

MISTAKES = "reports/test_mistakes.csv"
MISTAKES_LISTED = 500


class Predictions(NamedTuple):
    """What a network said about a whole data set: labels int64 `(n,)`, probabilities float32 `(n, classes)`, loss."""

    labels: np.ndarray
    probabilities: np.ndarray
    loss: float

    @property
    def predicted(self) -> np.ndarray:
        return self.probabilities.argmax(axis=1)


def classification_metrics(predictions: Predictions) -> dict[str, float]:
    """Loss, accuracy and macro-averaged precision, recall and F1; a class never predicted has precision 0."""
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    labels, predicted = predictions.labels, predictions.predicted
    # All classes count, also one that is neither present nor predicted in a small sample.
    classes = np.arange(predictions.probabilities.shape[1])
    precision, recall, f1, _ = precision_recall_fscore_support(
        labels,
        predicted,
        labels=classes,
        average="macro",
        zero_division=0,  # type: ignore[arg-type]
    )
    return {
        "loss": predictions.loss,
        "accuracy": float(accuracy_score(labels, predicted)),
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
    }


def write_classification(
    folder: Path,
    predictions: Predictions,
    classes: Sequence[str],
    title: str,
    history: list[dict[str, float]],
    best: int,
    of: str = "test images",
    labels: Mapping[str, str] = CURVE_LABELS,
) -> None:
    """What a classifier did on the test data, in the names of the contract: tables under `reports/`, figures under
    `plots/`.

    Args:
        history: the metrics of every epoch; `best` is the kept one.
        of: what is classified, for titles.
        labels: of the curves, by part.
    """
    from sklearn.metrics import classification_report, confusion_matrix

    every_class, figures, reports = range(len(classes)), folder / "plots", folder / "reports"
    report: Any = classification_report(
        predictions.labels,
        predictions.predicted,
        labels=every_class,
        target_names=classes,
        output_dict=True,
        zero_division=0,  # type: ignore
    )
    reports.mkdir(parents=True, exist_ok=True)
    (reports / "classification_report.json").write_text(json.dumps(report, indent=1))
    probabilities = predictions.probabilities.astype(np.float32)
    np.savez_compressed(reports / "test_predictions.npz", labels=predictions.labels, probabilities=probabilities)
    scores = classification_metrics(predictions)
    for metric in ("loss", "accuracy"):
        save_curves(figures / f"{metric}_curve.png", history, metric, title, best, scores[metric], labels)
    matrix = confusion_matrix(predictions.labels, predictions.predicted, labels=every_class)
    save_confusion_matrix(figures / "confusion_matrix.png", matrix, classes, f"{title}: {of}")
    save_per_class(figures / "per_class.png", report, classes, f"{title}: {of}")


def mistakes_table(predictions: Predictions, classes: Sequence[str], name: str, items: Sequence[str]) -> Any:
    """The wrong answers, the most confident first: some of them may be labels that are wrong.

    Args:
        name: the column of what is classified.
        items: what that is, for each answer.
    """
    import pandas as pd

    shown = [inert(one) for one in classes]
    table: Any = pd.DataFrame(
        {
            name: [inert(item) for item in items],
            "label": [shown[number] for number in predictions.labels],
            "predicted": [shown[number] for number in predictions.predicted],
            "probability": predictions.probabilities.max(axis=1).round(4),
        }
    )
    wrong = table[predictions.labels != predictions.predicted]
    return wrong.sort_values("probability", ascending=False, kind="stable").head(MISTAKES_LISTED)


def save_confusion_matrix(path: Path, matrix: np.ndarray, classes: Sequence[str], title: str) -> None:
    """Counts (rows: true class, columns: predicted), shaded by the fraction of the row."""
    figure, axes = single(7.5, 6.5)
    image = confusion(axes, matrix, classes)
    axes.set(xlabel="predicted", ylabel="true", title=plain(title))
    figure.colorbar(image, label="fraction of the true class")
    save(figure, path)


def save_per_class(path: Path, report: dict[str, dict[str, float]], classes: Sequence[str], title: str) -> None:
    """Precision, recall and F1 of every class as bars; the axis begins a little below the lowest."""
    figure, axes = single(9, 4.5)
    positions, width = np.arange(len(classes)), 0.27
    for offset, metric in enumerate(("precision", "recall", "f1-score")):
        values = [report[name][metric] for name in classes]
        axes.bar(positions + (offset - 1) * width, values, width, label=metric)
    lowest = min(report[name][metric] for name in classes for metric in ("precision", "recall", "f1-score"))
    axes.set_ylim(max(0.0, np.floor(lowest * 20) / 20 - 0.05), 1.0)
    axes.set_xticks(positions, [plain(name) for name in classes], rotation=30 if max(map(len, classes)) > 2 else 0)
    axes.set(xlabel="class", title=plain(title))
    axes.grid(axis="y", alpha=0.3)
    axes.legend(loc="lower right")
    save(figure, path)
