"""What is left of a training over an encoder: test metrics, curves, what the network said, the model folder."""

import json
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn

from experiments.config import StarterConfig
from experiments.starters.encoders.setup import EncoderTraining, Lesson, decide, prepare
from experiments.starters.weights import save_small
from experiments.training import figures as plots
from experiments.training.family import Family, Result, SavedModel
from experiments.training.state import Metrics
from tasks import task_class

SAID = "reports/test_answers.json"
KEEP = "fp8"


def make_family(read: Callable[[StarterConfig], Lesson]) -> Family[StarterConfig, EncoderTraining]:
    """The training of a lesson that `read` makes from the data."""

    def begin(config: StarterConfig, accelerator: Accelerator) -> EncoderTraining:
        return prepare(read(config), config, accelerator)

    return Family("starter", decide, begin, test, save_model, describe)


def test(training: EncoderTraining, network: nn.Module, best: int, folder: Path) -> Metrics:
    """Measure the kept network, with weights rounded as they are shipped, on the test data; draw and write it down."""
    lesson = training.lesson
    with tempfile.TemporaryDirectory() as temporary:
        save_small(network, lesson.tokenizer, Path(temporary), KEEP)
        shipped: Any = lesson.head.from_pretrained(temporary).to(training.state.accelerator.device)
        metrics, said = lesson.measure(shipped, "test", training.state.accelerator)
    history = training.state.history
    for metric, value in metrics.items():
        parts = {part: label for part, label in LABELS.items() if f"{part}_{metric}" in history[0]}
        path = folder / "plots" / f"{metric}_curve.png"
        plots.save_curves(path, history, metric, training.title, best, value, labels=parts)
    (folder / SAID).parent.mkdir(parents=True, exist_ok=True)
    (folder / SAID).write_text(json.dumps(said, indent=1, ensure_ascii=False), encoding="utf-8")
    return {f"test_{name}": value for name, value in metrics.items()}


LABELS = {"train": "training", "val": "validation"}


def save_model(training: EncoderTraining, network: nn.Module, folder: Path) -> SavedModel:
    """Write the network and its tokenizer as a model folder of the task."""
    lesson = training.lesson
    save_small(network, lesson.tokenizer, folder, KEEP)
    name = f"starter-{lesson.name}"
    params = {"model": name, "encoder": Path(training.config.encoder).name, "seed": training.config.seed}
    return SavedModel(lesson.task, name, lesson.task, lesson.example, params)


def describe(training: EncoderTraining, result: Result) -> str:
    """The run's description for its MLflow page."""
    lesson, metrics = training.lesson, result.metrics
    figures = ", ".join(f"{name} **{metrics[f'test_{name}']:.4f}**" for name in lesson.columns)
    return f"""**{result.name}** on the test data of {lesson.dataset}: {figures}, with weights rounded as they are \
shipped.

The budget of {training.config.epochs} epochs over {len(lesson):,} examples was used up; epoch {result.best_epoch} was \
best on validation data by `{lesson.selected_by}` and was kept.

Where to look: *Model metrics* for the curves; artifacts `plots/`, `{SAID}`, `config.json`, `checkpoints/`. \
`python -m experiments.evaluate --task {lesson.task}` measures the shipped model. Registry: {result.registry}.
"""


def opened(task: str, folder: Path, row: Mapping[str, Any]) -> tuple[Any, float]:
    """A folder loaded as a task on the CPU, and the seconds from there to its first answer, with default settings."""
    started = time.perf_counter()
    loaded = task_class(task)(folder, folder.name, "cpu")
    loaded.load()
    loaded.run([row])
    return loaded, time.perf_counter() - started


# Texts of other kinds than the summarizer has learned from, written for this project.
OTHER_TEXTS = {
    "News": "The city council voted on Tuesday to close the old swimming hall at the end of June. The building, which "
    "opened in 1968, needs a new roof and new pipes, and repairs would cost more than eleven million. A new hall with "
    "two pools will be built beside the railway station and is to open in three years. Until then, schools will have "
    "to send their classes to the neighboring town. Several hundred people had signed a petition against the plan. "
    "The mayor said that she understood the anger, but that the roof could not wait. Ticket prices in the new hall "
    "will stay as they are for families. The swimming club hopes that its members will not give up before the doors "
    "open again.",
    "Story": "Mira found the key on the way home from school, half buried in the sand under the swings. It was heavy "
    "and dark, and on its handle somebody had scratched a small bird. She asked the baker, the postman and the old "
    "woman with the three dogs, but nobody had lost a key. That night she could not sleep, so she tried it in every "
    "door of the house. The last one was the little cupboard behind the stairs, which had been locked for as long as "
    "she could remember. The key turned without a sound. Inside stood a wooden box full of letters, all of them "
    "written to her by her grandmother, one for every birthday until she was twenty. Mira read the first one, and "
    "then she closed the box again and decided to wait for the others.",
}
