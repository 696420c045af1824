"""A small platform: a store whose registry has a tiny model for every task, made in seconds and without a network."""

from collections.abc import Callable, Mapping
from pathlib import Path

import mlflow

import models
from tasks import registry
from tasks.image_classification import ClassifierConfig, save_classifier
from tasks.sequence_reversal import ReverserConfig, save_reverser
from tests import tiny_diffusion, tiny_models

CLASSES = tuple("0123456789")


def fill(database: Path) -> None:
    """Register models in an initialised store: a champion for every task, two versions for most.

    Untrained networks: what they answer makes no sense, that and how they answer does. Their files lie beside the store.
    """
    mlflow.set_tracking_uri(f"sqlite:///{database}")
    experiment = mlflow.create_experiment("platform", artifact_location=str(database.parent / "artifacts"))

    def add(name: str, task: str, make: Callable[[Path], object], tags: Mapping[str, str]) -> None:
        place = database.parent / "models" / tags["model"].replace(" ", "-") / task
        make(place)
        with mlflow.start_run(experiment_id=experiment):
            info = registry.package("model", task, place, tags["model"])
        version = registry.register(info.model_uri, name, {"task": task, **tags})
        registry.promote(name, version.version)

    for task, names in tiny_models.TASK_MODELS.items():
        for name in names:
            add(task, task, lambda place, name=name: tiny_models.save(name, place),
                {"model": f"tiny {name}", "licence": "mit"})  # fmt: skip
    diffusion = tiny_diffusion.tiny_stable_diffusion()
    add("image-generation", "image-generation", lambda place: tiny_diffusion.save(diffusion, place),
        {"model": "tiny diffusion"})  # fmt: skip
    for dataset, architecture in (("digits", "lenet5"), ("mnist", "alexnet_small")):
        add(f"cnn-{dataset}", "image-classification",
            lambda place, architecture=architecture: save_network(place, architecture),
            {"model": f"{architecture} on {dataset}", "dataset": dataset, "val_accuracy": "0.5"})  # fmt: skip
    for attention in ("dot", "none"):
        add("seq2seq-reverse", "sequence-reversal",
            lambda place, attention=attention: save_sequences(place, attention),
            {"model": f"gru-{attention}"})  # fmt: skip
    mlflow.set_tracking_uri(None)


def save_network(folder: Path, architecture: str) -> None:
    """An untrained network for ten classes of grey pictures."""
    config = ClassifierConfig(architecture, "small", 1, CLASSES, (0.1,), (0.3,))
    save_classifier(folder, models.build(architecture, 10, 1), config)


def save_sequences(folder: Path, attention: str) -> None:
    """An untrained encoder-decoder for ten symbols."""
    config = ReverserConfig("gru", attention, "none", vocab_size=10, max_length=8, longest=40, hidden_size=16, layers=1)
    save_reverser(folder, config.build(), config)
