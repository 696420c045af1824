"""What the tasks of pretrained text models share: their inputs are texts, their window is known."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar, TypeVar

from tasks.base import Task, check_text
from tasks.hub.source import weights_folder
from tasks.texts import named_parts

TEXTS_AT_ONCE, CHARACTERS_AT_ONCE = 64, 200_000
Item = TypeVar("Item")


class PretrainedTask(Task):
    """A task of a pretrained text model: which class of transformers it is, which columns are texts.

    An answer to a text of which the tokenizer does not know everything has the field `unknown`: those parts.
    Its `lock` is held while the model answers. Servers ask from several threads at once, and a tokenizer keeps settings
    of one call (truncation, padding) in itself while another runs.
    """

    auto_class: ClassVar[str]
    texts: ClassVar[tuple[str, ...]] = ("text",)
    inputs = {"text": True}
    requirements = ("torch", "transformers", "huggingface-hub", "jinja2")
    wide_range: ClassVar[bool] = False

    def __init__(self, folder: Path, model_name: str, device: str = "auto") -> None:
        super().__init__(folder, model_name, device)
        self.lock: AbstractContextManager[Any] = Lock()

    def load(self) -> None:
        from tasks.engines.devices import pick_device
        from tasks.engines.loading import context_window, load_model, load_tokenizer, pick_dtype

        folder = weights_folder(self.folder)
        device = pick_device(self.device)
        self.model = load_model(folder, self.auto_class, device, pick_dtype(device, wide_range=self.wide_range))
        self.tokenizer = load_tokenizer(folder)
        self.window = context_window(self.model, self.tokenizer)

    def check_row(self, row: dict[str, Any]) -> dict[str, Any]:
        return {**row, **{column: check_text(column, row[column]) for column in self.texts}}

    def encode(self, text: str | list[str], **options: Any) -> Any:
        """The tokens of a text or several, however many, as the tokenizer's answer."""
        return self.tokenizer(text, verbose=False, **options)

    def remarks(self, row: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        with self.lock:
            unknown = named_parts(part for text in self.texts_of(row) for part in self.unknown_parts(text))
        return {"unknown": unknown} if unknown else {}

    def texts_of(self, row: dict[str, Any]) -> list[str]:
        """What the tokenizer gets to see of a row."""
        return [row[column] for column in self.texts]

    def unknown_parts(self, text: str) -> list[str]:
        """The parts of a text that the model does not know."""
        return unknown_parts(self.tokenizer, text)


def read_together(items: Iterable[Item], characters: Callable[[Item], int]) -> Iterator[list[Item]]:
    """Texts, or rows of them, as they are read together: many short ones, a long one alone."""
    group: list[Item] = []
    size = 0
    for item in items:
        if group and (len(group) == TEXTS_AT_ONCE or size + characters(item) > CHARACTERS_AT_ONCE):
            yield group
            group, size = [], 0
        group.append(item)
        size += characters(item)
    yield group


def unknown_parts(tokenizer: Any, text: str) -> list[str]:
    """The parts of a text that a tokenizer has one token for all of, or no token."""
    encoded = tokenizer(text, verbose=False, add_special_tokens=False, return_offsets_mapping=True)
    parts, end = [], 0
    for token, (first, last) in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
        parts += _visible(text[end:first])
        if token == tokenizer.unk_token_id and text[first:last] != tokenizer.unk_token:
            parts.append(text[first:last].strip())
        end = max(end, last)
    return [*parts, *_visible(text[end:])]


def _visible(left_out: str) -> list[str]:
    """The words and signs of what has no token; white space, accents and what cannot be seen are none."""
    return "".join(
        letter if letter.isalnum() or unicodedata.category(letter) == "So" else " " for letter in left_out
    ).split()
