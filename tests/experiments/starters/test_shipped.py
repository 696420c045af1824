"""The starters as they are shipped: all there, small, described, and answering sensibly."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from experiments.config.names import STARTERS
from experiments.registration.folder import front_matter
from experiments.starters.starter import FOLDER
from experiments.starters.training import starter_of
from tasks import PRETRAINED_TASKS, task_class
from tasks.base import Task
from tasks.catalog import catalog

MOST_BYTES = 60_000_000
STORY = (
    "The old lighthouse had stood dark for thirty years. Last spring a group of neighbors bought it for the price of "
    "a used car. On Saturday evening, with half the town on the beach, its lamp was lit again."
)


def loaded(task: str) -> Task:
    made = task_class(task)(starter_of(task).folder, "starter", device="cpu")
    made.load()
    return made


def test_each_task_has_a_starter_or_a_model_in_a_package_and_the_starters_are_small() -> None:
    assert all(
        (catalog()[task].starter_here is None) != (catalog()[task].packaged is None) for task in PRETRAINED_TASKS
    )
    assert {task for task in PRETRAINED_TASKS if catalog()[task].starter_here} == set(STARTERS)
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert {path.relative_to(FOLDER).parts[0] for path in files} == {starter_of(task).name for task in STARTERS}
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES
    assert not [path for path in files if path.suffix in (".bin", ".pt", ".pkl", ".ckpt")]


@pytest.mark.parametrize("task", STARTERS)
def test_a_card_has_measured_figures_and_the_license_of_the_notice(task: str) -> None:
    starter = starter_of(task)
    card = (starter.folder / "README.md").read_text(encoding="utf-8")
    assert "Not measured yet" not in card and re.search(r"\nMeasured on \d{4}-\d\d-\d\d", card)
    assert "| to reproduce | `mlflow run" in card and "What it cannot do" in card
    notice = (FOLDER.parent / "NOTICE").read_text(encoding="utf-8")
    written = re.search(rf"^starters/{starter.name} \((.+)\)$", notice, re.MULTILINE)
    assert written and written[1].lower().replace(" ", "-") == front_matter(starter.folder)["license"]


def test_sentiment_tells_praise_from_blame() -> None:
    rows = [{"text": "A warm and clever film."}, {"text": "A dull, lifeless and badly acted mess."}]
    assert [row["label"] for row in loaded("sentiment-analysis").run(rows)] == ["POSITIVE", "NEGATIVE"]


def test_what_a_starter_does_not_know_is_named() -> None:
    rows = [{"text": "😡"}, {"text": "a" * 5000}, {"text": "A warm and clever film."}]
    angry, letters, known = loaded("sentiment-analysis").run(rows)
    assert angry["unknown"] == ["😡"] and len(letters["unknown"]) == 1 and "unknown" not in known
    drawing = loaded("image-generation")
    for prompt, unknown in {"a cat": ["cat"], "red": ["red"], "draw a pair of boots, please": None}.items():
        (answer,) = drawing.run([{"prompt": prompt}], {"steps": 1})
        assert answer.get("unknown") == unknown


def test_an_answer_is_found_in_its_text() -> None:
    row = {"question": "When was the lamp lit again?", "context": STORY}
    assert "Saturday" in loaded("question-answering").run([row])[0]["answer"]


def test_a_summary_is_a_part_of_the_text() -> None:
    (answer,) = loaded("summarization").run([{"text": STORY}])
    assert answer["summary"] in STORY and 0 < len(answer["summary"]) < len(STORY)


def test_a_picture_is_drawn_of_what_was_asked() -> None:
    drawing = loaded("image-generation")
    answers = drawing.run([{"prompt": prompt} for prompt in ("the digit 1", "a pullover")], {"seed": 3})
    one, pullover = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(answer["image"]))).convert("L")) / 255 for answer in answers
    )
    # Both on a black ground; a one is a thin stroke, and a pullover fills much of the picture.
    assert one[:4].max() < 0.2 and pullover[:2].max() < 0.3
    assert 0.02 < (one > 0.3).mean() < 0.2 and (pullover > 0.2).mean() > 0.3
