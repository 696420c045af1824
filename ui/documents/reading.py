"""A dropped file as text: what it is, what was left out, and in one line why it cannot be read."""

import codecs
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ui.documents.extraction import MOST_CHARACTERS

KINDS = ("txt", "md", "pdf", "docx")
MOST_MB = 20
WAIT_S = 120.0  # the process ends itself long before, on a machine that is not busy
ROOT = Path(__file__).resolve().parents[2]
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


class DocumentError(Exception):
    """A file that cannot be read. The text names it, and says why and what is valid."""


@dataclass(frozen=True)
class Document:
    """The text of a file, and what is to be said about it."""

    name: str
    text: str
    notes: Sequence[str] = ()

    def plain(self) -> dict[str, Any]:
        """As a message holds it; all of it is used until the model's window says less."""
        return {"name": self.name, "text": self.text, "notes": list(self.notes), "used": None}


def read_document(name: str, content: bytes) -> Document:
    """Read a file by its ending. Raises DocumentError."""
    name = " ".join(Path(name).name.split())[:100] or "document"
    kind = Path(name).suffix.lower().removeprefix(".")
    if kind not in KINDS:
        raise DocumentError(f"{name} cannot be read; valid: {', '.join(KINDS)}")
    if len(content) > MOST_MB * 10**6:
        raise DocumentError(f"{name} has {len(content) / 1e6:.0f} MB; valid: at most {MOST_MB}")
    if kind in ("txt", "md"):
        text, notes = _decoded(name, content)
    else:
        text, notes = _extracted(name, kind, content)
    text = text.encode("utf-8", "replace").decode().replace("\0", "").replace("\r\n", "\n")
    if not text.strip():
        raise DocumentError(f"{name} is empty; valid: a document with text")
    return Document(name, text, notes)


def _decoded(name: str, content: bytes) -> tuple[str, list[str]]:
    encoding = next((encoding for mark, encoding in MARKS if content.startswith(mark)), "utf-8")
    notes = []
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        text = content.decode("latin-1")
        notes.append("It is not UTF-8: some letters may be wrong.")
    if "\0" in text:
        raise DocumentError(f"{name} is no text; valid: {', '.join(KINDS)}")
    if len(text) > MOST_CHARACTERS:
        notes.append(f"Only its first {MOST_CHARACTERS:,} characters were read.")
    return text[:MOST_CHARACTERS], notes


def _extracted(name: str, kind: str, content: bytes) -> tuple[str, list[str]]:
    start = {"pdf": b"%PDF-", "docx": b"PK"}[kind]
    if start not in content[:1024]:
        raise DocumentError(f"{name} is no {kind.upper()} file; valid: {', '.join(KINDS)}")
    command = [sys.executable, "-m", "ui.documents.extraction", kind]
    try:
        done = subprocess.run(command, input=content, capture_output=True, cwd=ROOT, timeout=WAIT_S, check=False)
        answer = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):  # the system ended it: no answer
        raise DocumentError(f"{name} takes too long, or too much memory, to be read") from None
    if "fault" in answer:
        raise DocumentError(f"{name} {answer['fault']}")
    return answer["text"], answer["notes"]
