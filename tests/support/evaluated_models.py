"""A registry with tiny models of every evaluated task, made once for all tests of `compare -P kind=task`."""

import shutil
from pathlib import Path

import mlflow
import safetensors.torch
import torch

import models
from tasks import registry
from tasks.image_classification import ClassifierConfig
from tasks.sequence_reversal import ReverserConfig
from tasks.trained import save_network
from tests.support import tiny_models

DIGITS = tuple("0123456789")


def stock(folder: Path) -> None:
    """Register the models in the store that is in force."""
    experiment = mlflow.create_experiment("stock", artifact_location=str(folder / "artifacts"))

    def put(task: str, name: str, made: Path, registered: str = "") -> None:
        with mlflow.start_run(experiment_id=experiment):
            info = registry.package("model", task, made, name)
        tags = {"task": task, "model": name}
        version = registry.register(info.model_uri, registered or task, tags)
        registry.promote(registered or task, version.version)

    tiny = {}
    for name in ("roberta-sentiment", "distilbert-sentiment", "gpt2", "llama", "bart", "distilbert-qa", "qwen2"):
        tiny[name] = tiny_models.save(name, folder / name / "model")  # so MLflow calls it
    tiny["contrary"] = contrary(tiny["roberta-sentiment"], folder / "contrary" / "model")
    put("sentiment-analysis", "someone/roberta", tiny["roberta-sentiment"])
    put("sentiment-analysis", "<img src=x onerror=alert(1)>", tiny["contrary"])
    put("sentiment-analysis", "no such labels", tiny["distilbert-sentiment"], "other-labels")
    for name in ("gpt2", "llama"):
        put("story-completion", name, Path(shutil.copytree(tiny[name], folder / f"story-{name}" / "model")))
    put("next-word-prediction", "gpt2", tiny["gpt2"])
    put("summarization", "bart", tiny["bart"])
    put("question-answering", "distilbert-qa", tiny["distilbert-qa"])
    put("chatbot", "qwen2", tiny["qwen2"])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = models.build("lenet5", 10, 1)
        reverser = ReverserConfig("gru", "dot", "none", 10, 8, 16, 8, 1)
        save_network(
            folder / "lenet5" / "model", network, ClassifierConfig("lenet5", "small", 1, DIGITS, (0.1,), (0.3,))
        )
        save_network(folder / "gru" / "model", reverser.build(), reverser)
    put("image-classification", "lenet5 on digits", folder / "lenet5" / "model", "cnn-digits")
    put("sequence-reversal", "gru-dot", folder / "gru" / "model", "seq2seq-reverse")


def contrary(folder: Path, made: Path) -> Path:
    """A copy of a classifier with the last layer turned round."""
    shutil.copytree(folder, made)
    weights = safetensors.torch.load_file(made / "model.safetensors")
    for name in weights:
        if name.startswith("classifier.out_proj"):
            weights[name] = -weights[name]
    safetensors.torch.save_file(weights, made / "model.safetensors", {"format": "pt"})
    return made
