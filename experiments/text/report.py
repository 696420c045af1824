"""What is reported at the end of a fine-tuning: test metrics, figures, wrong answers, the model, a description."""

from pathlib import Path

import transformers
from torch import nn

from experiments.config import FinetuneConfig
from experiments.reports.classification import (
    MISTAKES,
    classification_metrics,
    mistakes_table,
    write_classification,
)
from experiments.text.setup import TextTraining, decide, prepare
from experiments.training.family import Family, Result, SavedModel
from experiments.training.state import Metrics
from tasks import task_class

CURVES = {"train": "training", "val": "validation"}
CHARACTERS = 500  # of a text among the mistakes


def test(training: TextTraining, network: nn.Module, best: int, folder: Path) -> Metrics:
    """Ask the kept network about the test texts, and write figures and reports of what it said."""
    predictions, data = training.predict(network, "test"), training.data
    write_classification(
        folder, predictions, data.classes, training.title, training.state.history, best, "test texts", CURVES
    )
    texts = [text[:CHARACTERS] for text in data.part("test")[0]]
    mistakes_table(predictions, data.classes, "text", texts).to_csv(folder / MISTAKES, index=False)
    return {f"test_{name}": value for name, value in classification_metrics(predictions).items()}


def save_model(training: TextTraining, network: nn.Module, folder: Path) -> SavedModel:
    """Write the network and its tokenizer as a model folder of the task."""
    config, data, base = training.config, training.data, training.base
    transformers.utils.logging.disable_progress_bar()
    network.save_pretrained(folder)  # type: ignore[operator]
    training.tokenizer.save_pretrained(folder)
    return SavedModel(
        task=config.task,
        name=f"{base.name} on {data.name}",
        registered_name=config.task,
        input_example=task_class(config.task).example,
        params={"model": base.name, "data": data.name, "classes": len(data.classes), "seed": config.seed},
    )


def describe(training: TextTraining, result: Result) -> str:
    """The run's description for its MLflow page."""
    config, data, metrics, ran = training.config, training.data, result.metrics, len(training.state.history)
    stopped = "" if ran == config.epochs else f" of {config.epochs}: validation had stopped getting better"
    warnings = "".join(f"\n- {warning}" for warning in data.warnings)
    return f"""**{result.name}**: test accuracy **{metrics["test_accuracy"]:.2%}**, macro F1 {metrics["test_f1"]:.4f}, \
{len(data.classes)} classes.

Trained for {ran} epochs{stopped}, on {len(data.parts["train"]):,} texts{", rare classes weighted" * config.balance}; \
epoch {result.best_epoch} had the best validation accuracy ({metrics["val_accuracy"]:.2%} of \
{len(data.parts["val"]):,}) and was kept. The test texts ({len(data.parts["test"]):,}) were read once, for that epoch.

Where to look: `{MISTAKES}` has its most confident mistakes, `reports/data_report.json` what the data are like. \
Registry: {result.registry}.
{warnings}
"""


TEXT: Family[FinetuneConfig, TextTraining] = Family("finetune", decide, prepare, test, save_model, describe)
