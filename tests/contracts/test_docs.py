"""The documents: their links lead somewhere, and the README stays short."""

import re
from pathlib import Path

import pytest

from tests.conftest import PROJECT_ROOT

DOCUMENTS = sorted(
    path.relative_to(PROJECT_ROOT)
    for folder in (".", "docs", "docs/results", "docs/decisions", "starters/*")
    for path in PROJECT_ROOT.glob(f"{folder}/*.md")
)
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_lead_somewhere(document: Path) -> None:
    text = (PROJECT_ROOT / document).read_text(encoding="utf-8")
    targets = {link.split("#")[0] for link in LINK.findall(text) if not link.startswith(("http://", "https://", "#"))}
    missing = [target for target in targets if not (PROJECT_ROOT / document).parent.joinpath(target).exists()]
    assert not missing


def test_the_readme_is_short() -> None:
    assert len((PROJECT_ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150
