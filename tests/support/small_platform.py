"""A small platform: a store whose registry has a tiny model for every task, made in seconds, offline."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import torch
import transformers

import models
from tasks import registry
from tasks.image_classification import ClassifierConfig
from tasks.sequence_reversal import ReverserConfig
from tasks.trained import save_network
from tests.support import tiny_diffusion, tiny_models

CLASSES = tuple("0123456789")
Add = Callable[..., None]


def fill(database: Path) -> None:
    """Register models in an initialized store: a champion for every task, two versions for most.

    Untrained networks: what they answer makes no sense, that and how they do. Their files lie beside the store.
    """
    with registering(database) as add:
        add_texts(add)
        add_images(add)
        for dataset, architecture in (("digits", "lenet5"), ("mnist", "alexnet_small")):
            save, model = partial(save_cnn, architecture=architecture), f"{architecture} on {dataset}"
            add(f"cnn-{dataset}", "image-classification", save, model=model, dataset=dataset, val_accuracy="0.5")
        add_sequences(add)


@contextmanager
def registering(database: Path) -> Iterator[Add]:
    """A function that registers what another one writes, as a new champion:
    `add(name, task, make, model=..., **tags)` calls `make(folder)`.
    """
    mlflow.set_tracking_uri(f"sqlite:///{database}")
    experiment = mlflow.get_experiment_by_name("platform")
    experiment_id = (
        experiment.experiment_id
        if experiment
        else mlflow.create_experiment("platform", artifact_location=str(database.parent / "artifacts"))
    )

    def add(name: str, task: str, make: Callable[[Path], object], *, model: str, **tags: str) -> None:
        place = database.parent / "models" / model.replace(" ", "-") / task / "model"
        make(place)
        with mlflow.start_run(experiment_id=experiment_id):
            info = registry.package("model", task, place, model)
        version = registry.register(info.model_uri, name, {"task": task, "model": model, **tags})
        registry.promote(name, version.version)

    yield add
    mlflow.set_tracking_uri(None)


def add_texts(add: Add, tasks: Iterable[str] = tiny_models.TASK_MODELS) -> None:
    """Two tiny models for each of these text tasks."""
    for task, names in tiny_models.TASK_MODELS.items():
        if task not in tasks:
            continue
        for name in names:
            add(task, task, lambda place, name=name: tiny_models.save(name, place), model=f"tiny {name}", license="mit")


def add_images(add: Add) -> None:
    """A tiny model that makes pictures."""
    save = partial(tiny_diffusion.save, tiny_diffusion.tiny_stable_diffusion())
    add("image-generation", "image-generation", save, model="tiny diffusion")


def add_sequences(add: Add) -> None:
    """Two untrained networks that reverse sequences, one with attention and one without."""
    for attention in ("dot", "none"):
        save = partial(save_sequences, attention=attention)
        add("seq2seq-reverse", "sequence-reversal", save, model=f"gru-{attention}")


def add_long_writer(add: Add) -> None:
    """A model that writes so long a story, and so slowly, that there is time to stop it."""

    def make(folder: Path) -> None:
        _, tokenizer = tiny_models.gpt2()
        tokenizer.model_max_length = 1024
        config = transformers.GPT2Config(
            vocab_size=len(tokenizer), n_embd=384, n_layer=8, n_head=6, bos_token_id=0, eos_token_id=0
        )
        with torch.random.fork_rng():
            torch.manual_seed(7)
            model: Any = transformers.GPT2LMHeadModel(config)
        model.generation_config.suppress_tokens = [0]  # it never ends by itself
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    add("story-completion", "story-completion", make, model="long writer")


def save_cnn(folder: Path, architecture: str) -> None:
    """An untrained network for ten classes of gray pictures."""
    config = ClassifierConfig(architecture, "small", 1, CLASSES, (0.1,), (0.3,))
    save_network(folder, models.build(architecture, 10, 1), config)


def save_sequences(folder: Path, attention: str) -> None:
    """An untrained encoder-decoder for ten symbols."""
    config = ReverserConfig("gru", attention, "none", vocab_size=10, max_length=8, longest=40, hidden_size=16, layers=1)
    save_network(folder, config.build(), config)
