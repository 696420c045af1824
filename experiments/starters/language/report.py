"""What is left of a training of the language model: test metrics, curves, the model folder, the run's description."""

from pathlib import Path

from torch import nn
from transformers import GenerationConfig

from experiments.starters.language.network import LanguageNetwork
from experiments.starters.language.setup import LanguageTraining
from experiments.starters.weights import save_small
from experiments.training import figures
from experiments.training.family import Result, SavedModel
from experiments.training.state import Metrics

# Tokens in a row that a text shall not repeat, for whoever generates with the folder: a model this small else runs in
# circles at the temperature of 0.7 that the task takes by default (22 of 100 stories with a loop).
UNREPEATED = 5
EXAMPLE = "Once upon a time, there was a little girl named Lily. She loved to"


def test(training: LanguageTraining, network: nn.Module, best: int, folder: Path) -> Metrics:
    """Measure the kept network on the held-out stories; draw the curves; write out which stories were held out."""
    metrics = training.measured(network, training.stories.test)
    save_figures(folder / "plots", training.state.history, training.title, best, metrics)
    reports = folder / "reports"
    reports.mkdir(parents=True, exist_ok=True)
    (reports / "held_out_stories.txt").write_text("\n<|endoftext|>\n".join(training.stories.test), encoding="utf-8")
    return {f"test_{name}": value for name, value in metrics.items()}


def save_figures(folder: Path, history: list[dict[str, float]], title: str, best: int, metrics: Metrics) -> None:
    """The curves of loss and accuracy."""
    for metric in ("loss", "accuracy"):
        figures.save_curves(folder / f"{metric}_curve.png", history, metric, title, best, metrics[metric])


def save_model(training: LanguageTraining, network: nn.Module, folder: Path) -> SavedModel:
    """Write the network and its tokenizer as a model folder of both tasks."""
    assert isinstance(network, LanguageNetwork)
    model = network.whole()
    end = training.tokenizer.eos_token_id
    model.generation_config = GenerationConfig(
        bos_token_id=end, eos_token_id=end, pad_token_id=end, no_repeat_ngram_size=UNREPEATED
    )
    save_small(model, training.tokenizer, folder)
    return SavedModel(
        task=training.config.task,
        name="starter-language-model",
        registered_name=training.config.task,
        input_example={"text": EXAMPLE},
        params={"model": "starter-language-model", "seed": training.config.seed},
    )


def describe(training: LanguageTraining, result: Result) -> str:
    """The run's description for its MLflow page."""
    stories, metrics = training.stories, result.metrics
    return f"""**{result.name}**: perplexity **{metrics["test_perplexity"]:.2f}** a token on {len(stories.test):,} \
held-out stories; {metrics["test_accuracy"]:.1%} of their tokens were its first guess.

The budget of {training.config.epochs} epochs over {len(stories.train):,} stories was used up; epoch \
{result.best_epoch} guessed best on {len(stories.val):,} validation stories and was kept. Stories with the same first \
sentence stand on one side only.

Where to look: *Model metrics* for the curves; artifacts `plots/`, `reports/held_out_stories.txt`, `config.json`, \
`checkpoints/`. `python -m experiments.evaluate --task {training.config.task}` measures the shipped model beside a \
5-gram model. Registry: {result.registry}.
"""
