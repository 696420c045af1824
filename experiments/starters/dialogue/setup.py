"""A training of the chatbot made ready: the language model loaded and extended, conversations read and packed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from accelerate import Accelerator
from torch import nn

from experiments.config import ConfigError, StarterConfig
from experiments.starters.dialogue.conversations import CHATTERBOT_TIMES, Conversations, read_conversations
from experiments.starters.dialogue.template import DialogueBatches, Talk, encode_talks, extended, pack
from experiments.starters.language.network import LanguageNetwork, language_step, measure
from experiments.starters.language.setup import CONTEXT, Recipe, resolve
from experiments.starters.language.tokens import Rows, tokenizer_digest
from experiments.starters.starter import FOLDER
from experiments.training import devices
from experiments.training.family import DataIdentity, Training
from experiments.training.state import Metrics, StepResult, TrainState, starting_state

NAME = "dialogues"
# What the shipped model was trained on; other conversations make another model.
DIALOGUES_SHA256 = "639e49a3d676477c6640e3bf5c496af6d235d0e79bafe2198849cef3a0fc1c91"
# On one core of a server CPU with bf16 instructions: about 3,500 tokens a second, 19 minutes an epoch.
CHATBOT = Recipe(epochs=2, learning_rate=1e-3)


def decide(config: StarterConfig) -> StarterConfig:
    """The configuration of the chatbot with every `auto` decided."""
    return resolve(config, CHATBOT)


@dataclass
class DialogueTraining(Training):
    """One training of the chatbot, ready to run on this process."""

    config: StarterConfig
    conversations: Conversations
    tokenizer: Any
    state: TrainState

    selected_by: ClassVar[str] = "val_accuracy"
    columns: ClassVar[tuple[str, ...]] = ("loss", "accuracy", "perplexity")

    @property
    def identity(self) -> DataIdentity:
        data = self.conversations
        known = data.sha256 == DIALOGUES_SHA256
        return DataIdentity(NAME, f"{self.config.data_dir}/text", data.sha256, data.split_sha256, verified=known)

    @property
    def title(self) -> str:
        return f"chatbot, seed {self.config.seed}"

    def tags(self) -> dict[str, str]:
        return {"task": self.config.task, "model": "starter-chatbot", "dataset": NAME}

    def summary(self) -> str:
        parameters = sum(parameter.numel() for parameter in self.state.network.parameters())
        data, batches = self.conversations, self.batches
        assert isinstance(batches, DialogueBatches)
        return (
            f"chatbot ({parameters:,} parameters) on {len(batches.texts):,} conversations, {batches.rows:,} rows of "
            f"{CONTEXT} tokens: {len(batches):,} steps an epoch; {len(data.val):,} conversations for validation, "
            f"{len(data.test):,} for testing"
        )

    def step(self, model: nn.Module, batch: Rows) -> StepResult:
        return language_step(model, batch)

    def evaluate(self, network: nn.Module) -> Metrics:
        return self.measured(network, self.conversations.val)

    def measured(self, network: nn.Module, conversations: Sequence[tuple[str, ...]]) -> Metrics:
        """A network's metrics on the assistant's turns of conversations, each turn but the first once a reply."""
        end, accelerator = self.tokenizer.eos_token_id, self.state.accelerator
        talks = [talk for pair in both_ways(self.tokenizer, conversations, learn_both=False) for talk in pair]
        inputs, targets = (part.to(accelerator.device) for part in pack(talks, end, CONTEXT))
        return measure(network, inputs, targets, accelerator)


def both_ways(tokenizer: Any, conversations: Sequence[tuple[str, ...]], *, learn_both: bool) -> list[tuple[Talk, ...]]:
    """Each conversation from its first turn on and, if a reply is left, from its second turn on."""
    found = []
    for turns in conversations:
        ways = (encode_talks(tokenizer, [turns], first, both=learn_both) for first in (0, 1))
        found.append(tuple(talk for way in ways for talk in way))
    return found


def prepare(config: StarterConfig, accelerator: Accelerator) -> DialogueTraining:
    """Read language model and conversations, set up network, optimizer and batches.

    Raises UserError for missing data, for a folder that is no language model, and for what does not fit.
    """
    data = read_conversations(config.data_dir)
    folder = FOLDER / "language-model" if config.language_model == "auto" else Path(config.language_model)
    model, tokenizer = extended(folder)
    used = data.train[: config.train_size or None]
    often = data.often[: config.train_size or None] * CHATTERBOT_TIMES
    talks = both_ways(tokenizer, [*used, *often, *data.told[: config.train_size or None]], learn_both=True)
    batches = DialogueBatches(
        [(ways[0], ways[-1]) for ways in talks],
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
            f"{CONTEXT} tokens in the training conversations"
        )
    torch.manual_seed(config.seed)
    state = starting_state(config, accelerator, LanguageNetwork(model.model), len(batches))
    environment = devices.environment(config.device, config.precision, accelerator.num_processes)
    environment["tokenizer"] = tokenizer_digest(tokenizer)
    return DialogueTraining(config, batches, state, environment, data, tokenizer)
