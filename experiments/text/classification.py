"""Classifying texts: examples, the step for the training loop, predictions."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn

from experiments.reports.classification import Predictions
from experiments.text.batches import EncodedText, TextBatch, outputs
from experiments.training.state import StepResult

ENCODED_AT_ONCE = 1000  # texts; the tokenizer holds much more of each than its tokens


def encode(
    tokenizer: Any, texts: Sequence[str], labels: Sequence[int], max_length: int | None = None
) -> tuple[list[EncodedText], int]:
    """Texts as the network reads them, the target being the label, and how many of them were cut.

    Args: max_length: tokens that are kept; None for the tokenizer's limit.
    """
    targets = {label: torch.tensor([float(label)]) for label in set(labels)}
    items, cut = [], 0
    for first in range(0, len(texts), ENCODED_AT_ONCE):
        part = slice(first, first + ENCODED_AT_ONCE)
        encoded = tokenizer(list(texts[part]), truncation=True, max_length=max_length)
        kinds = encoded.get("token_type_ids", [()] * len(encoded["input_ids"]))
        rows = zip(encoded["input_ids"], kinds, labels[part], strict=True)
        items += [EncodedText(tokens, kind, targets[label]) for tokens, kind, label in rows]
        cut += sum(bool(one.overflowing) for one in encoded.encodings or ())
    return items, cut


def classification_step(model: nn.Module, batch: TextBatch, weights: torch.Tensor | None = None) -> StepResult:
    """Cross entropy, each text's times the weight of its class, and the number of right answers."""
    logits, labels = model(**batch.inputs).logits.float(), batch.target[:, 0].long()
    right = (logits.detach().argmax(dim=1) == labels).sum()
    return StepResult(F.cross_entropy(logits, labels, weights, reduction="sum"), {"accuracy": right}, batch.total)


def predict(
    network: nn.Module, items: Sequence[EncodedText], accelerator: Accelerator, padding: int = 0
) -> Predictions:
    """What a network says of texts; the loss is plain cross entropy, averaged over them."""
    said = [(places, out.logits.float().cpu()) for places, _, out in outputs(network, items, accelerator, padding)]
    logits = torch.zeros(len(items), said[0][1].shape[1])
    for places, values in said:
        logits[places] = values
    labels = torch.stack([item.target for item in items])[:, 0].long()
    return Predictions(labels.numpy(), logits.softmax(dim=1).numpy(), F.cross_entropy(logits, labels).item())
