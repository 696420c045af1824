"""The documents: their links lead somewhere, the site is built without a warning, and the README stays short."""

import contextlib
import itertools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from experiments.cnn.recipes import resolve
from experiments.config import CNN_GROUPS, CNN_MODELS, IMAGE_DATASETS, CnnConfig, cli
from tasks.version import __version__
from tests.conftest import PROJECT_ROOT
from tests.contracts.test_contracts import ENTRY_POINTS

DOCUMENTS = sorted(
    path.relative_to(PROJECT_ROOT)
    for folder in (".", "docs", "docs/results", "docs/decisions", "starters/*")
    for path in PROJECT_ROOT.glob(f"{folder}/*.md")
)
ENVIRONMENT = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
LINK = re.compile(r"\]\(([^)\s]+)\)")
SHELL = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_somewhere(document: Path) -> None:
    text = (PROJECT_ROOT / document).read_text(encoding="utf-8")
    targets = {link.split("#")[0] for link in LINK.findall(text) if not link.startswith(("http://", "https://", "#"))}
    missing = [target for target in targets if not (PROJECT_ROOT / document).parent.joinpath(target).exists()]
    assert not missing


def commands(text: str) -> Iterator[list[str]]:
    """The words of each line of the shell blocks."""
    for block in SHELL.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            with contextlib.suppress(ValueError):  # a text of several lines, such as a body for curl
                yield shlex.split(line, comments=True)


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_programs_understand_their_commands(document: Path) -> None:
    targets = re.findall(r"^([a-z-]+):", (PROJECT_ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for words in commands((PROJECT_ROOT / document).read_text(encoding="utf-8")):
        match words:
            case ["make", target, *_]:
                assert target in targets
            case ["mlflow", "run", ".", "-e", program, *rest]:
                given = [value.split("=", 1) for flag, value in itertools.pairwise(rest) if flag == "-P"]
                cli.parse(ENTRY_POINTS[program], [word for name, value in given for word in (f"--{name}", value)])
            case [*_, "--help"]:
                continue
            case ["python", "-m", module, *flags] if module.startswith("experiments.train_"):
                cli.parse(ENTRY_POINTS[module.removeprefix("experiments.train_")], flags)
            case ["python", "-m", module, *flags] if module.removeprefix("experiments.") in ENTRY_POINTS:
                cli.parse(ENTRY_POINTS[module.removeprefix("experiments.")], flags)


def test_the_readme_is_short() -> None:
    assert len((PROJECT_ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_readme_counts_the_networks() -> None:
    assert f" {len(CNN_MODELS)} architectures" in (PROJECT_ROOT / "README.md").read_text(encoding="utf-8")


def test_the_table_of_recipes_is_that_of_the_code() -> None:
    columns = ("epochs", "optimizer", "learning_rate", "weight_decay", "batch_size", "label_smoothing", "crop")
    document = (PROJECT_ROOT / "docs/results/recipes.md").read_text(encoding="utf-8")
    table = re.split(r"^## .*$", document, flags=re.MULTILINE)[1]
    told: dict[tuple[str, str], list[str]] = {}
    for line in re.findall(r"^\| (\w+_.*|lenet5.*) \|$", table, re.MULTILINE):
        models, (dataset,), *cells = [cell.split(", ") for cell in line.split(" | ")]
        for place, model in enumerate(models):
            told[model, dataset] = [cell[place if len(cell) > 1 else 0] for cell in cells]
    recipes: dict[tuple[str, str], list[str]] = {}
    for model, dataset in itertools.product(CNN_GROUPS["small"], IMAGE_DATASETS):
        recipe = resolve(CnnConfig(model=model, dataset=dataset))
        values = [*(getattr(recipe, column) for column in columns), recipe.small_epochs if recipe.small_size else 0]
        recipes[model, dataset] = [str(value).removesuffix(".0") for value in values]
    assert told == recipes


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=PROJECT_ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    # What the reference reads from the code is there, and a link to a file of the checkout leads nowhere else.
    assert "ARCHITECTURES" in (tmp_path / "site" / "reference" / "models.html").read_text(encoding="utf-8")
    assert "starters/sentiment/README.md" in (tmp_path / "site" / "pretrained-models.html").read_text(encoding="utf-8")


def test_the_version_is_the_same_everywhere() -> None:
    citation = yaml.safe_load((PROJECT_ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    newest = re.search(r"^## (\S+)", (PROJECT_ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest is not None and citation["version"] == newest[1] == __version__
