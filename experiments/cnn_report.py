"""The end of a CNN training: test once, draw, write the reports, log the model, register it."""

import base64
import io
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from experiments import explain_plots, plots
from experiments.classification import Predictions, best_epoch, calibration_error, classification_metrics
from experiments.cnn_setup import Training
from experiments.state import evaluated_weights
from experiments.tracking import Tracker
from tasks import registry
from tasks.explain import first_layer_filters, grad_cam
from tasks.image_classification import ClassifierConfig, save_classifier

TASK = "image-classification"


@dataclass(frozen=True)
class CnnResult:
    """What came out of a training; `metrics` are those of the kept epoch (`val_*`, `test_*`)."""

    run_id: str
    name: str
    best_epoch: int
    metrics: dict[str, float]
    train_seconds: float
    tracking_seconds: float
    model_uri: str
    registry: str

    def table(self) -> str:
        """The result for a terminal."""
        names = ("loss", "accuracy", "precision", "recall", "f1")
        header = "".join(f"{name:>11}" for name in names)
        lines = [f"{self.name}: epoch {self.best_epoch} is kept (best by validation)", f"{'':12}{header}"]
        for part in ("val", "test"):
            values = "".join(f"{self.metrics[f'{part}_{name}']:11.4f}" for name in names)
            lines.append(f"{'validation' if part == 'val' else part:12}{values}")
        lines.append(f"{self.train_seconds:.1f} s of training, {self.tracking_seconds:.1f} s of tracking")
        lines.append(self.registry)
        return "\n".join(lines)


def finish(training: Training, tracker: Tracker) -> CnnResult:
    """Evaluate the best epoch on the test images, which nothing has looked at before, and log all that follows."""
    config, history = training.config, training.state.history
    best = best_epoch(history)
    network = training.state.network
    network.load_state_dict(evaluated_weights(tracker.checkpoints.load(best).tensors))
    predictions = training.predict(network, training.data.test)
    test = {f"test_{name}": value for name, value in classification_metrics(predictions).items()}
    test["test_ece"] = calibration_error(predictions.labels, predictions.probabilities)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_report(folder / "artifacts", training, predictions, best)
        look_inside(folder / "artifacts" / "plots", training, network, predictions)
        tracker.log_files(folder / "artifacts")
        tracker.upload_checkpoints()
        info = _log_model(folder / "model", training, tracker, network)
    tracker.log_final(test, step=best, model_id=info.model_id)
    metrics = {**{k: v for k, v in history[best - 1].items() if k.startswith("val_")}, **test}
    decision = _register(training, tracker, info.model_uri, metrics) if config.register else "not registered"
    result = CnnResult(
        run_id=tracker.run_id,
        name=f"{config.model} on {config.dataset}, seed {config.seed}",
        best_epoch=best,
        metrics=metrics,
        train_seconds=sum(epoch["epoch_seconds"] for epoch in history),
        tracking_seconds=tracker.seconds,
        model_uri=info.model_uri,
        registry=decision,
    )
    tracker.describe(_description(training, result), {"best_epoch": str(best)})
    return result


def write_report(folder: Path, training: Training, predictions: Predictions, best: int) -> None:
    """Figures under `plots/`, tables under `reports/`, in the names of the contract."""
    from sklearn.metrics import classification_report, confusion_matrix

    data, history = training.data, training.state.history
    title = f"{training.config.model} on {data.name}"
    labels, predicted, classes = predictions.labels, predictions.predicted, data.classes
    every_class = range(len(classes))
    report: Any = classification_report(
        labels,
        predicted,
        labels=every_class,
        target_names=classes,
        output_dict=True,
        zero_division=0,  # type: ignore
    )
    reports, figures = folder / "reports", folder / "plots"
    reports.mkdir(parents=True)
    (reports / "classification_report.json").write_text(json.dumps(report, indent=1))
    np.savez_compressed(
        reports / "test_predictions.npz", labels=labels, probabilities=predictions.probabilities.astype(np.float32)
    )
    scores = classification_metrics(predictions)
    for metric in ("loss", "accuracy"):
        plots.save_curves(figures / f"{metric}_curve.png", history, metric, title, best, scores[metric])
    matrix = confusion_matrix(labels, predicted, labels=every_class)
    plots.save_confusion_matrix(figures / "confusion_matrix.png", matrix, classes, f"{title}: test images")
    plots.save_per_class(figures / "per_class.png", report, classes, f"{title}: test images")
    pixels = data.test.images.permute(0, 2, 3, 1).cpu().numpy()
    plots.save_mistakes(figures / "mistakes.png", pixels, labels, predictions.probabilities, classes)


def look_inside(figures: Path, training: Training, network: nn.Module, predictions: Predictions) -> None:
    """Figures of what the network looks at: Grad-CAM, first-layer filters, calibration."""
    data, name = training.data, f"{training.config.model} on {training.data.name}"
    ece = calibration_error(predictions.labels, predictions.probabilities)
    explain_plots.save_calibration(
        figures / "calibration.png", predictions.labels, predictions.probabilities, ece, f"{name}: test images"
    )
    filters = first_layer_filters(network).float().cpu().numpy()
    explain_plots.save_filters(figures / "filters.png", filters, f"{name}: first-layer filters")
    # The first test image of every class.
    chosen = [int(np.flatnonzero(predictions.labels == index)[0]) for index in np.unique(predictions.labels)]
    pixels = data.test.images[chosen]
    heat = grad_cam(network.eval(), training.normalise(pixels))
    captions = [
        f"{data.classes[int(predictions.predicted[index])]}\nis {data.classes[int(predictions.labels[index])]}"
        for index in chosen
    ]
    explain_plots.save_grad_cam(
        figures / "grad_cam.png", pixels.permute(0, 2, 3, 1).cpu().numpy(), heat.cpu().numpy(), captions
    )


def _log_model(folder: Path, training: Training, tracker: Tracker, network: nn.Module) -> Any:
    config, data = training.config, training.data
    description = ClassifierConfig(config.model, "small", data.channels, data.classes, data.mean, data.std)
    save_classifier(folder, network, description)
    with tracker.timed():
        return registry.package(
            "model",
            TASK,
            folder,
            f"{config.model} on {config.dataset}",
            input_example={"image": png_base64(data.test.images[0])},
            params={"model": config.model, "dataset": config.dataset, "seed": config.seed},
        )


def png_base64(image: torch.Tensor) -> str:
    """A uint8 image `(channels, h, w)` as PNG in base64, the form in which the served model takes it."""
    from PIL import Image

    pixels = image.permute(1, 2, 0).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _register(training: Training, tracker: Tracker, model_uri: str, metrics: dict[str, float]) -> str:
    config, data = training.config, training.data
    name = f"cnn-{config.dataset}"
    tags = {
        "task": TASK,
        "model": config.model,
        "dataset": config.dataset,
        "val_accuracy": repr(metrics["val_accuracy"]),
        "test_accuracy": repr(metrics["test_accuracy"]),
        "data_sha256": data.sha256,
        "split_sha256": data.split_sha256,
        "data_verified": str(data.verified).lower(),
    }
    with tracker.timed():
        version = registry.version_of_run(name, tracker.run_id) or registry.register(model_uri, name, tags)
        contender = registry.Contender(metrics["val_accuracy"], data.sha256, data.split_sha256)
        return registry.promote_if_better(name, version.version, contender)


def _description(training: Training, result: CnnResult) -> str:
    config, data, metrics = training.config, training.data, result.metrics
    return f"""**{result.name}**: test accuracy **{metrics["test_accuracy"]:.2%}**, macro F1 {metrics["test_f1"]:.4f}.

Trained for {config.epochs} epochs on {len(data.train):,} images; epoch {result.best_epoch} had the best validation \
accuracy ({metrics["val_accuracy"]:.2%} of {len(data.val):,}) and was kept. The test set ({len(data.test):,}) was read \
once, for that epoch.

Where to look: *Model metrics* for the curves; artifacts `plots/` (loss and accuracy curves, confusion matrix, \
per-class scores, mistakes), `reports/` (classification report, every test prediction), `config.json` (the whole \
configuration), `checkpoints/`. Registry: {result.registry}.
"""
