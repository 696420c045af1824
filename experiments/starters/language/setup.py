"""A training of the language model made ready: configuration decided, stories read, network and optimizer set up."""

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from accelerate import Accelerator
from torch import nn
from transformers import LlamaModel

from experiments.config import ConfigError, StarterConfig
from experiments.starters.language.network import LanguageNetwork, language_step, make_config, measure
from experiments.starters.language.stories import Stories, read_stories
from experiments.starters.language.tokens import (
    PackedBatches,
    Rows,
    cut,
    encode,
    joined,
    tokenizer_digest,
    train_tokenizer,
)
from experiments.training import devices
from experiments.training.family import DataIdentity, Training
from experiments.training.state import Metrics, StepResult, starting_state

NAME = "children-stories"
# What the shipped model was trained on; other stories make another model.
STORIES_SHA256 = "cdbdd915aa335ec85a4c27457a24a98c6636c70e367af0f51c7b58955bc9edbd"
WORDS = 4096
CONTEXT = 512
SIZES: dict[str, Any] = {
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "intermediate_size": 688,
    "max_position_embeddings": CONTEXT,
    # About 1 / sqrt(width). With the 0.02 of larger models this one learned much more slowly: after 250 steps its loss
    # on validation stories was 5.15, with 0.05 it was 4.52 (both at a learning rate of 0.004).
    "initializer_range": 0.05,
}


@dataclass(frozen=True)
class Recipe:
    """How a language model is trained unless a person says otherwise. Rows of CONTEXT tokens make up a batch."""

    epochs: int
    learning_rate: float
    batch_size: int = 4
    optimizer: str = "adamw"
    weight_decay: float = 0.1
    schedule: str = "cosine"
    warmup: float = 0.03
    grad_clip: float = 1.0
    ema_decay: float = 0.0


# On one core of a server CPU with bf16 instructions: about 3,500 tokens a second, 12 minutes an epoch.
LANGUAGE_MODEL = Recipe(epochs=4, learning_rate=2e-3)


def resolve(config: StarterConfig, recipe: Recipe) -> StarterConfig:
    """The configuration with every `auto` decided by a recipe and this machine, and its thread count in force."""
    return devices.settled(config).filled(dataclasses.asdict(recipe))


def decide(config: StarterConfig) -> StarterConfig:
    """The configuration of the language model with every `auto` decided."""
    return resolve(config, LANGUAGE_MODEL)


@dataclass
class LanguageTraining(Training):
    """One training of the language model, ready to run on this process."""

    config: StarterConfig
    stories: Stories
    tokenizer: Any

    selected_by: ClassVar[str] = "val_accuracy"
    columns: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "perplexity")

    @property
    def identity(self) -> DataIdentity:
        stories = self.stories
        known = stories.sha256 == STORIES_SHA256
        return DataIdentity(NAME, f"{self.config.data_dir}/text", stories.sha256, stories.split_sha256, verified=known)

    @property
    def title(self) -> str:
        return f"language model on stories, seed {self.config.seed}"

    def tags(self) -> dict[str, str]:
        return {"task": self.config.task, "model": "starter-language-model", "dataset": NAME}

    def summary(self) -> str:
        parameters = sum(parameter.numel() for parameter in self.state.network.parameters())
        stories, batches = self.stories, self.batches
        assert isinstance(batches, PackedBatches)
        tokens = sum(map(len, batches.texts)) + len(batches.texts)
        return (
            f"language model ({parameters:,} parameters, {len(self.tokenizer):,} tokens in its vocabulary) on "
            f"{len(batches.texts):,} stories of {tokens:,} tokens: {len(batches):,} steps an epoch; "
            f"{len(stories.val):,} stories for validation, {len(stories.test):,} for testing"
        )

    def step(self, model: nn.Module, batch: Rows) -> StepResult:
        return language_step(model, batch)

    def evaluate(self, network: nn.Module) -> Metrics:
        return self.measured(network, self.stories.val)

    def measured(self, network: nn.Module, stories: tuple[str, ...]) -> Metrics:
        """A network's metrics on stories one after the other, in rows as in training."""
        rows = cut(joined(encode(self.tokenizer, stories), self.tokenizer.eos_token_id), CONTEXT)
        rows = rows.to(self.state.accelerator.device)
        return measure(network, rows[:, :-1], rows[:, 1:], self.state.accelerator)


def prepare(config: StarterConfig, accelerator: Accelerator) -> LanguageTraining:
    """Read the stories, train the tokenizer on those for training, set up network, optimizer and batches.

    Raises UserError for missing data and for what does not fit.
    """
    stories = read_stories(config.data_dir)
    used = stories.train[: config.train_size or None]
    tokenizer = train_tokenizer(used, WORDS, CONTEXT)
    batches = PackedBatches(
        encode(tokenizer, used),
        end=tokenizer.eos_token_id,
        context=CONTEXT,
        batch_size=config.batch_size,
        seed=config.seed,
        device=accelerator.device,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
    if not accelerator.num_processes <= config.batch_size <= batches.rows:
        raise ConfigError(
            f"batch_size is {config.batch_size}; valid: {accelerator.num_processes} to {batches.rows}, the rows of "
            f"{CONTEXT} tokens in the training stories"
        )
    torch.manual_seed(config.seed)
    network = LanguageNetwork(LlamaModel(make_config(tokenizer, **SIZES)))
    state = starting_state(config, accelerator, network, len(batches))
    environment = devices.environment(config.device, config.precision, accelerator.num_processes)
    environment["tokenizer"] = tokenizer_digest(tokenizer)
    return LanguageTraining(config, batches, state, environment, stories, tokenizer)
