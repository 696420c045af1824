"""Classifying images: the step for the training loop, predictions, and how well they are calibrated."""

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn

from experiments.cnn.augmentation import ImageBatch
from experiments.reports.classification import Predictions
from experiments.training.state import StepResult


def classification_step(model: nn.Module, batch: ImageBatch, label_smoothing: float = 0.0) -> StepResult:
    """Cross entropy with label smoothing, and the number of right answers."""
    logits = model(batch.images)
    loss = F.cross_entropy(logits.float(), batch.labels, reduction="sum", label_smoothing=label_smoothing)
    correct = (logits.detach().argmax(dim=1) == batch.labels).sum()
    return StepResult(loss, {"accuracy": correct}, batch.total)


CALIBRATION_BINS = 15


@torch.inference_mode()
def predict(model: nn.Module, batches: Iterable[ImageBatch], accelerator: Accelerator) -> Predictions:
    """Run a network in eval mode over all batches; the loss is plain cross entropy, averaged over images.

    On several processes each runs over everything: these data sets are small, and the result is exact and the same.
    """
    model.eval()
    logits, labels = [], []
    for batch in batches:
        with accelerator.autocast():
            logits.append(model(batch.images).float())
        labels.append(batch.labels)
    all_logits, all_labels = torch.cat(logits), torch.cat(labels)
    loss = F.cross_entropy(all_logits, all_labels).item()
    return Predictions(all_labels.cpu().numpy(), all_logits.softmax(dim=1).cpu().numpy(), loss)


def calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error (Guo et al. 2017, arXiv:1706.04599, eq. 3): mean of |accuracy - confidence| over
    equally wide bins of confidence, weighted by the images in them."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    which = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gaps = [abs(right[which == k].mean() - confidence[which == k].mean()) * (which == k).mean() for k in set(which)]
    return float(sum(gaps))
