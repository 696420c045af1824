"""A fine-tuning made ready: texts read and encoded, the model opened, what was left at `auto` decided."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate import Accelerator
from torch import nn

from experiments.config import RANDOM, TEXT_BATCH, ConfigError, FinetuneConfig, finetune_epochs
from experiments.data.text_report import UNBALANCED
from experiments.data.texts import PARTS, TextData, load_texts
from experiments.reports.classification import Predictions, classification_metrics
from experiments.text.base_model import BaseModel, located, open_classifier, own_classes
from experiments.text.batches import EncodedText, TextBatch, TextBatches
from experiments.text.classification import classification_step, encode, predict
from experiments.training import devices
from experiments.training.family import DataIdentity, Training
from experiments.training.state import Metrics, StepResult, starting_state
from tasks.engines.loading import context_window

MAX_TOKENS = 256
# A small encoder, such as the starter, takes larger steps than a BERT of 110 million parameters.
SMALL, RATE, SMALL_RATE = 40 * 10**6, 3e-5, 1e-4
PATIENCE = 3


@dataclass
class TextTraining(Training):
    """One fine-tuning, ready to run on this process.

    Attributes:
        items: the encoded texts of each part.
        weights: of the classes in the training loss; None if all count the same.
    """

    config: FinetuneConfig
    data: TextData
    base: BaseModel
    tokenizer: Any
    items: dict[str, list[EncodedText]]
    weights: torch.Tensor | None

    selected_by: ClassVar[str] = "val_accuracy"
    columns: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "precision", "recall", "f1")

    @property
    def identity(self) -> DataIdentity:
        data = self.data
        return DataIdentity(data.name, data.origin, data.sha256, data.split_sha256, verified=False)

    @property
    def warnings(self) -> list[str]:
        return self.data.warnings

    @property
    def title(self) -> str:
        begins = f"{self.base.name}'s network" if self.config.weights == RANDOM else self.base.name
        return f"{begins} on {Path(self.data.name).stem}, seed {self.config.seed}"

    @property
    def data_report(self) -> dict[str, Any]:
        return self.data.report

    def tags(self) -> dict[str, str]:
        revision = {"base_revision": self.base.revision} if self.base.revision else {}
        facts = {"base_model": self.base.name, "license": self.base.license, "classes": ", ".join(self.data.classes)}
        name = f"{self.base.name} on {self.data.name}"  # pages would take it for the model that it began as
        return {"task": self.config.task, "model": name, "dataset": self.data.name, **facts, **revision}

    def summary(self) -> str:
        parameters = sum(parameter.numel() for parameter in self.state.network.parameters())
        sizes = ", ".join(f"{len(self.items[part]):,} {part}" for part in PARTS)
        return (
            f"{self.base.name} ({parameters:,} parameters) on {self.data.name}: {len(self.data.classes)} classes, "
            f"texts: {sizes}"
        )

    def step(self, model: nn.Module, batch: TextBatch) -> StepResult:
        return classification_step(model, batch, self.weights)

    def predict(self, network: nn.Module, part: str) -> Predictions:
        """A network's predictions for a part of the data."""
        return predict(network, self.items[part], self.state.accelerator, self.tokenizer.pad_token_id)

    def evaluate(self, network: nn.Module) -> Metrics:
        return classification_metrics(self.predict(network, "val"))

    def solved(self, metrics: Metrics) -> bool:  # noqa: ARG002
        """Whether validation has not become better for `patience` epochs."""
        history, patience = self.state.history, self.config.patience
        return bool(patience) and len(history) - self.best_epoch(history) >= patience


def decide(config: FinetuneConfig) -> FinetuneConfig:
    """The configuration decided for this machine; data and model decide the rest in `prepare`."""
    return devices.placed(config)


def prepare(config: FinetuneConfig, accelerator: Accelerator) -> TextTraining:
    """Read the data, open the model, set up optimizer and batches. Raises UserError for what does not fit together."""
    data, base = load_texts(config), located(config)
    classes, new_head = _in_order(data.classes, own_classes(base))
    data = data.ordered(classes)
    torch.manual_seed(config.seed)
    network, tokenizer = open_classifier(
        base, classes, new_head=new_head, random=config.weights == RANDOM, device=accelerator.device
    )
    window = context_window(network, tokenizer)
    counts = data.counts("train")
    parameters = sum(parameter.numel() for parameter in network.parameters())
    config = config.replace(revision=base.revision).filled(recipe(int(counts.sum()), parameters))
    decided = {
        "max_tokens": min(window, MAX_TOKENS),
        "patience": max(PATIENCE, config.epochs // 4),
        "balance": bool(counts.max() > UNBALANCED * counts.min()),
    }
    config = config.filled(decided)
    if config.max_tokens > window:
        raise ConfigError(f"max_tokens is {config.max_tokens}; valid for {base.name}: 8 to {window}")
    if not accelerator.num_processes <= config.batch_size <= counts.sum():
        raise ConfigError(
            f"batch_size is {config.batch_size}; valid: {accelerator.num_processes} to {counts.sum()}, which is the "
            "number of training texts"
        )
    items = _encoded(data, tokenizer, config.max_tokens)
    nothing = {*tokenizer.all_special_ids}
    if all(nothing.issuperset(item.tokens) for item in items["train"]):
        raise ConfigError(f"model: the tokenizer in {base.folder} knows nothing of what is in {data.name}")
    processes = accelerator.process_index, accelerator.num_processes
    batches = TextBatches(
        lambda _: items["train"],
        len(items["train"]),
        config.batch_size,
        config.seed,
        accelerator.device,
        *processes,
        padding=tokenizer.pad_token_id,
    )
    state = starting_state(config, accelerator, network, len(batches))
    environment = devices.environment(config, accelerator.num_processes)
    weights = torch.tensor(counts.sum() / (len(counts) * counts), dtype=torch.float32, device=accelerator.device)
    balanced = weights if config.balance else None
    return TextTraining(config, batches, state, environment, data, base, tokenizer, items, balanced)


def recipe(texts: int, parameters: int) -> dict[str, Any]:
    """The default settings for training a model of this size on this number of texts."""
    return {
        "epochs": finetune_epochs(texts),
        "batch_size": min(TEXT_BATCH, texts),
        "learning_rate": SMALL_RATE if parameters < SMALL else RATE,
        "weight_decay": 0.01,
        "optimizer": "adamw",
        "schedule": "one_cycle",
        "warmup": 0.1,
        "grad_clip": 1.0,
        "ema_decay": 0.0,
    }


def _in_order(classes: Sequence[str], own: Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """The classes of the data, in the model's order if they are its own, and whether the model needs a new head."""
    names = {name.casefold(): name for name in classes}
    if len(own) == len(names) == len(classes) and {name.casefold() for name in own} == set(names):
        return tuple(names[name.casefold()] for name in own), False
    return tuple(classes), True


def _encoded(data: TextData, tokenizer: Any, max_tokens: int) -> dict[str, list[EncodedText]]:
    """The texts of each part as the network reads them. How many were cut goes into the warnings of the data."""
    items, cut = {}, 0
    for part in PARTS:
        texts, labels = data.part(part)
        items[part], longer = encode(tokenizer, texts, labels.tolist(), max_tokens)
        cut += longer
    if cut:
        data.warnings.append(
            f"texts longer than {max_tokens} tokens: {cut:,}; training reads their beginning (max_tokens), the "
            "finished model all of a text, in several windows"
        )
    return items
