"""Comparing convolutional networks: what their runs leave behind, what they cost, figures."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

import models
from experiments.cnn.report import CNN
from experiments.comparison import figures as plots
from experiments.comparison.kind import NOTES, FigureSpec, FinishedRun, Kind, Shape
from experiments.comparison.results import ClassifierResult, Findings
from experiments.config import FAMILIES, IMAGE_SIZE


class CnnKind(Kind):
    """Convolutional networks on image data sets."""

    family = CNN
    names = FAMILIES["cnn"]
    metric = "accuracy"
    history = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "epoch_seconds", "examples_per_second")
    metrics = ("accuracy", "precision", "recall", "f1", "loss", "ece", "seconds", "examples_per_second")
    items = "images"
    notes = (
        "The best epoch by validation accuracy of each training run is kept; the test images were read once, for it.",
        "ECE: expected calibration error, 15 confidence bins of equal width. Precision, recall and F1 are macro "
        "averages.",
        "FLOPs: forward pass of one image, 32 x 32 or of image_size, convolutions and matrix products only, counted by "
        "torch's FlopCounterMode: a multiply-add counts as two.",
        *NOTES,
    )

    def default_models(self, device: str) -> str:
        return "small" if device == "cpu" else "full"

    def shape(self, training: Any) -> Shape:
        return (
            super()
            .shape(training)
            ._replace(channels=training.data.channels, size=training.data.size, classes=training.data.classes)
        )

    def read(self, run: FinishedRun, known: Mapping[str, Any]) -> ClassifierResult:
        with run.file("reports/test_predictions.npz") as path, np.load(path) as saved:
            labels, predicted = saved["labels"], saved["probabilities"].argmax(axis=1)
        return ClassifierResult(**known, answers=labels, right=predicted == labels, predicted=predicted)

    def flops(self, model: str, data: Shape) -> int:
        return network_flops(model, len(data.classes), data.channels, data.size)

    def figures(self, findings: Findings, data: Shape, cells: Sequence[Any]) -> list[FigureSpec]:
        over, order = findings.over, [row.model for row in findings.rows]
        curves = partial(plots.save_curves, cells=cells, items=self.items)
        title = f"test images of {over}"
        by_rank = sorted(cells, key=lambda cell: order.index(cell.model))
        matrices = partial(plots.save_confusions, cells=by_rank, classes=data.classes, title=title)
        loss = "Loss by epoch and by time; training loss may include label smoothing, validation loss does not"
        return [
            FigureSpec(
                "accuracy",
                "Accuracy by epoch and by time",
                partial(curves, metric="accuracy", title=f"accuracy on {over}"),
            ),
            FigureSpec("loss", loss, partial(curves, metric="loss", title=f"loss on {over}")),
            FigureSpec("confusion", "Confusion matrices, added up over seeds; mistakes in red", matrices),
        ]


def network_flops(model: str, num_classes: int, channels: int, size: int = IMAGE_SIZE) -> int:
    """FLOPs of one image, `size` x `size`, through the network, counted without computing anything."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        network = models.build(model, num_classes, channels, models.stem_for(model, size))
        network.eval()(torch.empty(1, channels, size, size))
    return counter.get_total_flops()
