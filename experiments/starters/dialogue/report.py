"""What is left of a training of the chatbot: test metrics, curves, the model folder, the run's description."""

from pathlib import Path

from torch import nn

from experiments.starters.dialogue.setup import DialogueTraining
from experiments.starters.language.network import LanguageNetwork
from experiments.starters.language.report import save_figures
from experiments.starters.weights import save_small
from experiments.training.family import Result, SavedModel
from experiments.training.state import Metrics


def test(training: DialogueTraining, network: nn.Module, best: int, folder: Path) -> Metrics:
    """Measure the kept network on the replies of held-out conversations; draw the curves."""
    metrics = training.measured(network, training.conversations.test)
    save_figures(folder / "plots", training.state.history, training.title, best, metrics)
    return {f"test_{name}": value for name, value in metrics.items()}


def save_model(training: DialogueTraining, network: nn.Module, folder: Path) -> SavedModel:
    """Write the network and its tokenizer, with the chat template, as a model folder of the task."""
    assert isinstance(network, LanguageNetwork)
    save_small(network.whole(), training.tokenizer, folder)
    return SavedModel(
        task="chatbot",
        name="starter-chatbot",
        registered_name="chatbot",
        input_example={"messages": [{"role": "user", "content": "Hello! How are you?"}]},
        params={"model": "starter-chatbot", "seed": training.config.seed},
    )


def describe(training: DialogueTraining, result: Result) -> str:
    """The run's description for its MLflow page."""
    data, metrics = training.conversations, result.metrics
    return f"""**{result.name}**: perplexity **{metrics["test_perplexity"]:.2f}** a token on the replies of \
{len(data.test):,} held-out conversations; {metrics["test_accuracy"]:.1%} of their tokens were its first guess.

The language model went on to learn from {len(data.train):,} self-dialogues and {len(data.often):,} conversations of \
the ChatterBot corpus for {training.config.epochs} epochs; epoch {result.best_epoch} guessed best on \
{len(data.val):,} validation conversations and was kept.

Where to look: *Model metrics* for the curves; artifacts `plots/`, `config.json`, `checkpoints/`. `python -m \
experiments.evaluate --task chatbot` measures the shipped model beside the language model that it began from, and \
prints its replies to 50 fixed prompts. Registry: {result.registry}.
"""
