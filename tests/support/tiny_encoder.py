"""A tiny BERT of a few words, and the starters over an encoder trained from it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

from experiments.config import StarterConfig
from experiments.starters.encoders.encoder import Size
from experiments.starters.encoders.task import EncoderTask
from experiments.starters.encoders.vocabulary import make_tokenizer
from experiments.starters.starter import StarterRecipe
from experiments.starters.training import train
from experiments.training.family import Result
from experiments.training.loop import fit
from experiments.training.state import Metrics
from tasks import task_class
from tests.support.runs import artifacts, only_run

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'\"()"
_WORDS = (
    "the cat dog house film story was is not good bad very really an and with old new lighthouse lamp lit king queen "
    "found lost who what where when in on of it we show that our method results paper sea river town"
)
WORDS = _WORDS.split()
PIECES = [*(f"##{letter}" for letter in LETTERS), *LETTERS, *WORDS, "##s", "##ing", "##house", "wonder", "##ful"]


def tokenizer() -> Any:
    """One as BERT has it, of a few words: with free places, and special tokens in the middle."""
    names = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(PIECES)]
    return make_tokenizer({name: number for number, name in enumerate(names)}, lower=True)


def save_encoder(folder: Path, layers: int = 2, units: int = 48, positions: int = 64) -> Path:
    """A tiny public checkpoint, whose tokenizer cuts and pads as that of a sentence encoder does."""
    words = tokenizer()
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=units,
        max_position_embeddings=positions,
        initializer_range=0.2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        BertModel(config).save_pretrained(folder)
    words.backend_tokenizer.enable_truncation(8)
    words.backend_tokenizer.enable_padding(length=8)
    words.save_pretrained(folder)
    return folder


def shrink_recipe(patch: pytest.MonkeyPatch, task: type[EncoderTask], size: Size, epochs: int) -> None:
    """Have a starter trained in seconds."""
    patch.setattr(task, "size", size)
    patch.setattr(task, "dropout", 0.0)
    patch.setattr(task, "recipe", StarterRecipe(epochs, batch_size=16, learning_rate=0.01))


def tiny_config(task: str, data_dir: Path, **values: Any) -> StarterConfig:
    given: dict[str, Any] = {"threads": 1, "precision": "fp32", "device": "cpu", "register": False, **values}
    return StarterConfig(task=task, data_dir=str(data_dir), **given)


def trained(task: str, data_dir: Path, folder: Path) -> tuple[Result, Any, list[dict[str, Any]]]:
    """Train a starter into a folder: the result, the task loaded from there, and the answers that the run logged."""
    encoder = save_encoder(folder.with_name("encoder"))
    result = train(tiny_config(task, data_dir, encoder=str(encoder), output=str(folder)))
    assert result is not None
    loaded = task_class(task)(folder, "starter", "cpu")
    loaded.load()
    return result, loaded, json.loads((artifacts(only_run()) / "reports" / "test_answers.json").read_text())


def train_epochs(made: Any, epochs: int, on_epoch_end: Callable[[int, Metrics], None] = lambda *_: None) -> None:
    """Train a starter that is set up, without MLflow."""
    fit(
        made.state,
        batches=made.batches.epoch,
        step=made.step,
        evaluate=made.evaluate,
        epochs=epochs,
        seed=made.config.seed,
        on_epoch_end=on_epoch_end,
        grad_clip=made.config.grad_clip,
    )
