"""A starter's model card, the README.md of its folder: programs fill in what the training took and the figures."""

import datetime
import re
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import ModelCard

from experiments.config import UserError
from experiments.reports.tables import to_markdown
from experiments.starters.starter import Starter, StarterEvaluation

CARD = "README.md"
NOT_YET = "Not measured yet."
TRAINING, MEASURED = "Training", "Measured on held-out data"


def write(folder: Path, starter: Starter, cost: Mapping[str, str]) -> None:
    """Write the card of a model that has just been trained; its figures are not measured yet."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    facts = {**cost, "size": f"{size / 1e6:.1f} MB in total"}
    card = _load(starter.folder)
    card.text = _replaced(card.text, TRAINING, to_markdown(("", ""), facts.items()))
    card.text = _replaced(card.text, MEASURED, NOT_YET)
    card.save(folder / CARD)


def write_figures(folder: Path, task: str, found: StarterEvaluation, hardware: str) -> None:
    """Put measured figures into a folder's card. Raises UserError if the folder has no card, or none of ours."""
    card = _load(folder)
    rows = [(figure.name, f"{figure.value:.{figure.digits}f}", figure.beside) for figure in found.figures]
    parts = (
        f"`python -m experiments.evaluate --task {task}` prints these figures for the weights as shipped.",
        to_markdown(("", "value", "compare with"), rows),
        f"Measured on {datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {hardware}.",
        found.examples.strip(),
    )
    card.text = _replaced(card.text, MEASURED, "\n\n".join(filter(None, parts)))
    card.save(folder / CARD)


def _load(folder: Path) -> ModelCard:
    path = folder / CARD
    if path.is_file():
        card = ModelCard.load(path)
        if all(f"\n## {heading}\n" in card.text for heading in (TRAINING, MEASURED)):
            return card
    raise UserError(f"{path} is no model card of a starter; valid: a folder that the entry point starter made")


def _replaced(text: str, heading: str, content: str) -> str:
    """A Markdown text with other content in one of its sections."""
    return re.sub(rf"(?<=\n## {heading}\n).*?(?=\n## |\Z)", lambda _: f"\n{content}\n", text, flags=re.DOTALL)
