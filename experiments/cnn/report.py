"""What is reported at the end of a CNN training: test metrics, figures, the model to be registered, a description."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import models
from experiments.cnn import figures as plots
from experiments.cnn.classification import calibration_error
from experiments.cnn.data_page import write_data_report
from experiments.cnn.pretrained import Weights
from experiments.cnn.setup import TASK, CnnTraining, decide, prepare
from experiments.config import CnnConfig
from experiments.data.images import Subset
from experiments.data.report import sample
from experiments.reports.classification import (
    MISTAKES,
    Predictions,
    classification_metrics,
    mistakes_table,
    write_classification,
)
from experiments.reports.figures import MOST_CLASSES
from experiments.training.family import Family, Result, SavedModel
from experiments.training.state import Metrics
from tasks.explain import first_layer_filters, grad_cam
from tasks.image_classification import LIGHT_ON_DARK, ClassifierConfig
from tasks.trained import save_network

# Pictures that are kept of each kind of mistake, and of all together: 5 MB at most for CIFAR-10, before compression.
PICTURES_A_CELL, PICTURE_BYTES = 16, 20 * 10**6


def test(training: CnnTraining, network: nn.Module, best: int, folder: Path) -> Metrics:
    """Run the kept network over the test images, and write figures and reports of what it said."""
    predictions = training.predict(network, training.data.test)
    write_report(folder, training, predictions, best)
    save_diagnostics(folder / "plots", training, network, predictions)
    metrics = {f"test_{name}": value for name, value in classification_metrics(predictions).items()}
    return {**metrics, "test_ece": calibration_error(predictions.labels, predictions.probabilities)}


def write_report(folder: Path, training: CnnTraining, predictions: Predictions, best: int) -> None:
    """Figures under `plots/`, tables under `reports/`, in the names of the contract."""
    data, labels = training.data, predictions.labels
    title = f"{training.config.model} on {data.name}"
    write_classification(folder, predictions, data.classes, title, training.state.history, best)
    wrong = most_confident_errors(labels, predictions.probabilities, PICTURE_BYTES // (data.channels * data.size**2))
    kept: dict[str, Any] = {"index": wrong, "pixels": pixels_of(data.test, wrong)}
    if data.test_files:
        kept["files"] = np.array(data.test_files)[wrong]
    np.savez_compressed(folder / "reports" / "test_mistakes.npz", **kept)
    shown = plots.most_confident_mistakes(labels, predictions.probabilities)
    pixels, path = pixels_of(data.test, shown), folder / "plots" / "mistakes.png"
    plots.save_mistakes(path, pixels, shown, labels, predictions.probabilities, data.classes)
    if data.report is not None:
        mistakes = mistakes_table(predictions, data.classes, "file", data.test_files)
        mistakes.to_csv(folder / MISTAKES, index=False, errors="replace")  # names of files may be no Unicode
        write_data_report(folder, data.report, data.train, mistakes)


def pixels_of(part: Subset, index: Sequence[int] | np.ndarray) -> np.ndarray:
    """Some images as uint8 `(n, height, width, channels)`."""
    chosen = torch.as_tensor(np.asarray(index, np.int64), device=part.labels.device)
    return part.take(chosen).permute(0, 2, 3, 1).cpu().numpy()


def most_confident_errors(labels: np.ndarray, probabilities: np.ndarray, most: int) -> np.ndarray:
    """Indices of at most `most` wrong answers, up to PICTURES_A_CELL of each cell of the confusion matrix.

    First the surest of every cell, then its second, so that where there are too many every cell has some.
    """
    import pandas as pd

    predicted, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    order = np.argsort(-sure, kind="stable")
    wrong = order[predicted[order] != labels[order]]
    cells = pd.DataFrame({"true": labels[wrong], "predicted": predicted[wrong]}, index=wrong)
    places = cells.groupby(["true", "predicted"]).cumcount()
    return places[places < PICTURES_A_CELL].sort_values(kind="stable").index[:most].to_numpy()


def save_diagnostics(figures: Path, training: CnnTraining, network: nn.Module, predictions: Predictions) -> None:
    """Figures of what the network looks at: Grad-CAM, first-layer filters, calibration."""
    data, name = training.data, f"{training.config.model} on {training.data.name}"
    ece = calibration_error(predictions.labels, predictions.probabilities)
    plots.save_calibration(
        figures / "calibration.png", predictions.labels, predictions.probabilities, ece, f"{name}: test images"
    )
    filters = first_layer_filters(network).float().cpu().numpy()
    plots.save_filters(figures / "filters.png", filters, f"{name}: first-layer filters")
    # The first test image of every class.
    chosen = sample(predictions.labels, columns=1, rows=MOST_CLASSES)
    pixels = data.test.take(torch.as_tensor(chosen, device=data.test.labels.device))
    heat = grad_cam(network.eval(), training.normalize(pixels))
    captions = [
        f"{data.classes[int(predictions.predicted[index])]}\nis {data.classes[int(predictions.labels[index])]}"
        for index in chosen
    ]
    plots.save_grad_cam(
        figures / "grad_cam.png", pixels.permute(0, 2, 3, 1).cpu().numpy(), heat.cpu().numpy(), captions
    )


def save_model(training: CnnTraining, network: nn.Module, folder: Path) -> SavedModel:
    """Write the network as a model of the task `image-classification`."""
    config, data = training.config, training.data
    stem = models.stem_for(config.model, data.size)
    mean, std = training.normalize.mean, training.normalize.std
    dark = data.mean[0] < LIGHT_ON_DARK
    description = ClassifierConfig(config.model, stem, data.channels, data.classes, mean, std, data.size, dark)
    save_network(folder, network, description)
    return SavedModel(
        task=TASK,
        name=f"{config.model} on {data.name}",
        registered_name=f"cnn-{data.name}",
        input_example={"image": png_base64(data.test.take(slice(1))[0])},
        params={"model": config.model, "dataset": data.name, "seed": config.seed},
    )


def png_base64(image: torch.Tensor) -> str:
    """A uint8 image `(channels, h, w)` as PNG in base64, the form in which the served model takes it."""
    from PIL import Image

    pixels = image.permute(1, 2, 0).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels).save(buffer, format="PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def _beginning(config: CnnConfig, weights: Weights) -> str:
    return (
        f"It began with the ImageNet weights [{weights.hub_id}](https://huggingface.co/{weights.hub_id}) (license "
        f"{weights.license}, revision `{weights.revision}`); for {config.freeze_epochs} epochs only the last layer "
        f"learned, then the others with {config.trunk_learning_rate:g} of its learning rate."
    )


def describe(training: CnnTraining, result: Result) -> str:
    """The run's description for its MLflow page."""
    config, data, metrics, weights = training.config, training.data, result.metrics, training.weights
    begins = "" if weights is None else f"{_beginning(config, weights)} "
    return f"""**{result.name}**: test accuracy **{metrics["test_accuracy"]:.2%}**, macro F1 {metrics["test_f1"]:.4f}.

Trained for {config.epochs} epochs on {len(data.train):,} images; epoch {result.best_epoch} had the best validation \
accuracy ({metrics["val_accuracy"]:.2%} of {len(data.val):,}) and was kept. The test set ({len(data.test):,}) was read \
once, for that epoch. {begins}Registry: {result.registry}.
"""


CNN: Family[CnnConfig, CnnTraining] = Family("cnn", decide, prepare, test, save_model, describe)
