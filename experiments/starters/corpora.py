"""The public texts that starters are trained on: where they lie, what they are, which of them are held out."""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

from experiments.config import UserError
from experiments.data.splits import text_digest


class Corpus(NamedTuple):
    """Examples by use; each has a `key`, the texts by which it is known. Only the last measurement looks at `test`."""

    train: tuple[Any, ...]
    val: tuple[Any, ...]
    test: tuple[Any, ...]

    def cut(self, train_size: int) -> "Corpus":
        """With the first `train_size` training examples; 0 = all."""
        return self._replace(train=self.train[: train_size or None])

    def digest(self) -> str:
        """The SHA-256 of everything."""
        return text_digest(text for example in self.train + self.val + self.test for text in example.key)

    def held_out_digest(self) -> str:
        """That of what is not trained on."""
        return self._replace(train=()).digest()


def text_file(data_dir: Path | str, name: str) -> Path:
    """A file or folder of the text data sets, `DATA_DIR/text/NAME`. Raises UserError where there is none."""
    path = Path(data_dir) / "text" / name
    if not path.exists():
        raise UserError(f"{path} does not exist, and holds data of this model; docs/starters.md says where to get it")
    return path


def held_out(title: str, fraction: float, salt: str = "") -> bool:
    """Whether a title is in the `fraction` that is kept from training; the same one on every machine.

    Another `salt` draws other ones.
    """
    number = int.from_bytes(hashlib.sha256(f"{salt}\n{title}".encode()).digest()[:8], "big")
    return number < fraction * 2**64
