"""The language model's recipe: a tiny training to its folder, exact resuming, what is refused."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file

from experiments.config import ConfigError, StarterConfig
from experiments.starters.language import setup
from experiments.starters.language.recipe import STARTER
from experiments.starters.language.report import UNREPEATED
from experiments.starters.language.tokens import PackedBatches, encode
from experiments.training import run as training
from experiments.training.loop import fit
from tasks.hub.checks import check_folder
from tasks.text_generation import NextWordPrediction, StoryCompletion
from tests.experiments.starters.test_language import TINY, WORDS, write_stories


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with made-up stories; networks are tiny, and their vocabulary small."""
    write_stories(tmp_path / "data")
    monkeypatch.setattr(setup, "SIZES", TINY)
    monkeypatch.setattr(setup, "WORDS", WORDS)
    return tmp_path / "data"


def tiny_config(data_dir: Path, **values: Any) -> StarterConfig:
    common: dict[str, Any] = {"task": "story-completion", "epochs": 2, "batch_size": 4, "threads": 1,
                              "precision": "fp32", "device": "cpu", "learning_rate": 0.01}  # fmt: skip
    return StarterConfig(data_dir=str(data_dir), **{**common, **values})


def test_a_training_ends_in_a_folder_that_both_tasks_take(data_dir: Path, store: Path) -> None:
    config = tiny_config(data_dir, register=False, epochs=4)
    folder = store / "model"
    kept: dict[str, float] = {}

    def save(prepared: Any, network: Any, where: Path) -> Any:
        saved = STARTER.family.save(prepared, network, folder)
        STARTER.family.save(prepared, network, where)
        kept.update(prepared.state.history[-1])
        return saved

    result = training.train(dataclasses.replace(STARTER.family, save=save), config)
    assert result is not None and {f"test_{name}" for name in result.columns} <= result.metrics.keys()
    assert kept["val_perplexity"] < 40  # of 300 tokens; the words of made-up stories are few
    assert result.metrics["test_perplexity"] == pytest.approx(math.exp(result.metrics["test_loss"]), rel=1e-4)
    check_folder(folder)
    assert all(value.dtype == torch.float16 for value in load_file(folder / "model.safetensors").values())
    story = StoryCompletion(folder, "starter", device="cpu")
    story.load()
    assert story.model.generation_config.no_repeat_ngram_size == UNREPEATED
    (answer,) = story.run([{"text": "One day Lily"}], {"max_new_tokens": 20})
    assert answer["completion"] and answer["prompt_tokens"] == 1 + len(story.tokenizer.tokenize("One day Lily"))
    word = NextWordPrediction(folder, "starter", device="cpu")
    word.load()
    (answer,) = word.run([{"text": "One day Tom had 7 cats. Tom saw the"}])
    assert answer["next_word"] in {"red", "big", "old"}


def test_going_on_from_a_checkpoint_changes_nothing(data_dir: Path, accelerator: Accelerator) -> None:
    def prepared() -> setup.LanguageTraining:
        return STARTER.family.prepare(config, accelerator)

    def run(made: setup.LanguageTraining, epochs: int) -> None:
        fit(made.state, batches=made.batches.epoch, step=made.step, evaluate=made.evaluate, epochs=epochs,
            seed=config.seed, on_epoch_end=lambda *_: None, grad_clip=config.grad_clip)  # fmt: skip

    config = STARTER.family.decide(tiny_config(data_dir, train_size=60))
    straight, halted, resumed = prepared(), prepared(), prepared()
    run(straight, 2)
    run(halted, 1)
    resumed.state.restore(halted.state.tensors(), halted.state.values())
    run(resumed, 2)
    for name, value in straight.state.tensors()["model"].items():
        assert torch.equal(value, resumed.state.tensors()["model"][name]), name


def test_the_validation_stories_are_not_trained_on(data_dir: Path, accelerator: Accelerator) -> None:
    made = STARTER.family.prepare(STARTER.family.decide(tiny_config(data_dir)), accelerator)
    assert isinstance(made.batches, PackedBatches)
    trained = {text.tobytes() for text in made.batches.texts}
    held_out = encode(made.tokenizer, (*made.stories.val, *made.stories.test))
    assert held_out and not any(text.tobytes() in trained for text in held_out)
    assert made.identity.verified is False  # made-up stories are not those of the shipped model


def test_a_batch_larger_than_the_data_is_refused(data_dir: Path, accelerator: Accelerator) -> None:
    config = STARTER.family.decide(tiny_config(data_dir, batch_size=10_000))
    with pytest.raises(ConfigError, match="batch_size is 10000; valid: 1 to"):
        STARTER.family.prepare(config, accelerator)


def test_the_recipe_fills_in_what_is_left_open(data_dir: Path) -> None:
    config = STARTER.family.decide(StarterConfig(data_dir=str(data_dir), task="story-completion", learning_rate=0.5))
    assert (config.learning_rate, config.epochs) == (0.5, setup.LANGUAGE_MODEL.epochs)
    assert None not in config.model_dump().values()
