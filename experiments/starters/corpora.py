"""The public texts that starters are trained on: where they lie, what they are, which of them are held out."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from experiments.config import UserError

GUIDE = "docs/starters.md says where to get it"


def text_folder(data_dir: Path | str, name: str) -> Path:
    """The folder of a text data set, `DATA_DIR/text/NAME`. Raises UserError where there is none."""
    folder = Path(data_dir) / "text" / name
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist, and holds the data that this model learns from; {GUIDE}")
    return folder


def text_file(data_dir: Path | str, name: str, file: str) -> Path:
    """A file of a text data set. Raises UserError where there is none."""
    path = text_folder(data_dir, name) / file
    if not path.is_file():
        raise UserError(f"{path} does not exist; {GUIDE}")
    return path


def digest(texts: Iterable[str]) -> str:
    """The sha256, in hex, of a sequence of texts: another order or another cut is another digest."""
    total = hashlib.sha256()
    for text in texts:
        encoded = text.encode()
        total.update(len(encoded).to_bytes(8, "little"))
        total.update(encoded)
    return total.hexdigest()


def held_out(title: str, share: float, salt: str = "") -> bool:
    """Whether a title is among the `share` that is kept from training; the same one on every machine.

    Another `salt` draws another, independent share.
    """
    number = int.from_bytes(hashlib.sha256(f"{salt}\n{title}".encode()).digest()[:8], "big")
    return number < share * 2**64
