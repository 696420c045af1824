"""The documents: their links lead somewhere, the site is built without a warning, and the README stays short."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tasks.version import __version__
from tests.conftest import PROJECT_ROOT

DOCUMENTS = sorted(
    path.relative_to(PROJECT_ROOT)
    for folder in (".", "docs", "docs/results", "docs/decisions", "starters/*")
    for path in PROJECT_ROOT.glob(f"{folder}/*.md")
)
ENVIRONMENT = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_somewhere(document: Path) -> None:
    text = (PROJECT_ROOT / document).read_text(encoding="utf-8")
    targets = {link.split("#")[0] for link in LINK.findall(text) if not link.startswith(("http://", "https://", "#"))}
    missing = [target for target in targets if not (PROJECT_ROOT / document).parent.joinpath(target).exists()]
    assert not missing


def test_the_readme_is_short() -> None:
    assert len((PROJECT_ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


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
