"""A starter's model card: the README.md of its folder, as the Hub shows it. Figures are written by `evaluate` only."""

import datetime
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from experiments.config import UserError
from experiments.starters.starter import Judgment, Starter
from experiments.starters.weights import folder_bytes

CARD = "README.md"
BEGIN, END = "<!-- figures: written by experiments.evaluate -->", "<!-- end of figures -->"
FIGURES = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
NOT_YET = "Not measured yet."
TRAINING, MEASURED = "## Training", "## Measured on held-out data"


def write(folder: Path, starter: Starter, cost: Mapping[str, str]) -> None:
    """Write the card of a model that has just been trained; its figures are not measured yet."""
    size = folder_bytes(folder)
    _write(folder, starter, _table(("", ""), {**cost, "size": f"{size / 1e6:.1f} MB with everything"}.items()))


def _write(folder: Path, starter: Starter, training: str) -> None:
    front = {"license": starter.front["license"], "tags": ["project-dl", "starter", *starter.tasks], **starter.front}
    text = [
        f"---\n{yaml.safe_dump(front, sort_keys=False).strip()}\n---",
        f"# {starter.name}, a starter of Project-DL",
        starter.about.strip(),
        TRAINING,
        training,
        MEASURED,
        f"`python -m experiments.evaluate --task {starter.tasks[0]}` prints these figures; they are of the weights as "
        "they are shipped.",
        f"{BEGIN}\n{NOT_YET}\n{END}",
    ]
    (folder / CARD).write_text("\n\n".join(text) + "\n", encoding="utf-8")


def write_figures(folder: Path, starter: Starter, judgment: Judgment, hardware: str) -> None:
    """Put measured figures into a folder's card, and what the recipe says of the model by now; what the training took
    stays. Raises UserError if the folder has no card, or none of ours.
    """
    path = folder / CARD
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if not (FIGURES.search(text) and TRAINING in text and MEASURED in text):
        raise UserError(f"{path} is no model card of a starter; valid: a folder that the entry point starter made")
    _write(folder, starter, text.split(TRAINING)[1].split(MEASURED)[0].strip())
    text = path.read_text(encoding="utf-8")
    rows = [(figure.name, f"{figure.value:.{figure.digits}f}", figure.beside) for figure in judgment.figures]
    measured = f"Measured on {datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {hardware}."
    parts = [BEGIN, _table(("", "value", "to be seen beside"), rows), measured, judgment.examples.strip(), END]
    content = "\n\n".join(part for part in parts if part)
    path.write_text(FIGURES.sub(lambda _: content, text), encoding="utf-8")


def _table(header: tuple[str, ...], rows: Any) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
