"""A starter's model card: the README.md of its folder, as the Hub shows it. Figures are written by `evaluate` only."""

import datetime
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from experiments.config import UserError
from experiments.starters.starter import Judgement, Starter
from experiments.starters.weights import folder_bytes

CARD = "README.md"
BEGIN, END = "<!-- figures: written by experiments.evaluate -->", "<!-- end of figures -->"
FIGURES = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
NOT_YET = "Not measured yet."


def write(folder: Path, starter: Starter, cost: Mapping[str, str]) -> None:
    """Write the card of a model that has just been trained; its figures are not measured yet."""
    front = {"license": "other", "tags": ["project-dl", "starter", *starter.tasks], **starter.front}
    size = folder_bytes(folder)
    facts = {**cost, "size": f"{size / 1e6:.1f} MB with everything"}
    text = [
        f"---\n{yaml.safe_dump(front, sort_keys=False).strip()}\n---",
        f"# {starter.name}, a starter of Project-DL",
        starter.about.strip(),
        "## Training",
        _table(("", ""), facts.items()),
        "## Measured on held-out data",
        f"`python -m experiments.evaluate --task {starter.tasks[0]}` prints these figures; they are of the weights as "
        "they are shipped.",
        f"{BEGIN}\n{NOT_YET}\n{END}",
    ]
    (folder / CARD).write_text("\n\n".join(text) + "\n", encoding="utf-8")


def write_figures(folder: Path, judgement: Judgement, hardware: str) -> None:
    """Put measured figures into a folder's card. Raises UserError if it has none, or none of ours."""
    path = folder / CARD
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    if not FIGURES.search(text):
        raise UserError(f"{path} is no model card of a starter; valid: a folder that the entry point starter made")
    rows = [(figure.name, f"{figure.value:.{figure.digits}f}", figure.beside) for figure in judgement.figures]
    measured = f"Measured on {datetime.datetime.now(datetime.UTC):%Y-%m-%d}, {hardware}."
    parts = [BEGIN, _table(("", "value", "to be seen beside"), rows), measured, judgement.examples.strip(), END]
    content = "\n\n".join(part for part in parts if part)
    path.write_text(FIGURES.sub(lambda _: content, text), encoding="utf-8")


def front_matter(folder: Path) -> dict[str, Any]:
    """The metadata of a folder's card; empty where it has none that can be read."""
    try:
        text = (folder / CARD).read_text(encoding="utf-8")
        found = yaml.safe_load(text.split("---\n")[1]) if text.startswith("---\n") else None
    except (OSError, ValueError, IndexError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _table(header: tuple[str, ...], rows: Any) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
