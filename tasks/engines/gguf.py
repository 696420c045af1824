"""The header of a GGUF file: what model it is, and whether the file is whole. Its weights are left to llama.cpp.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

import math
import mmap
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tasks.base import ModelFolderError
from tasks.hub.quantization import PART

Found = TypeVar("Found")

MAGIC = b"GGUF"
VERSIONS = (2, 3)
MOST_DIMENSIONS = 4
STRING, ARRAY = 8, 9
# Types of plain values by their number.
CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
VALUES = {number: struct.Struct(f"<{code}") for number, code in CODES.items()}
LENGTH, NUMBER = struct.Struct("<Q"), struct.Struct("<I")
# Types of weights by their number: values in a block, bytes of a block. From ggml.h and ggml-common.h of ggml.
BLOCKS = {
    0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34), 9: (32, 40), 10: (256, 84),
    11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210), 15: (256, 292), 16: (256, 66), 17: (256, 74),
    18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110), 22: (256, 82), 23: (256, 136), 24: (1, 1), 25: (1, 2),
    26: (1, 4), 27: (1, 8), 28: (1, 8), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66), 39: (32, 17),
}  # fmt: skip
CONTROL = 3  # the type of tokens such as the end of a turn
DEFAULT_CONTEXT = 2048
SHORTEST = 2  # tokens: one that is read, one that is written


@dataclass(frozen=True)
class GgufModel:
    """A model in a GGUF file.

    Attributes:
        path: of the file, or of the first part of one that was divided.
        architecture: as llama.cpp calls it, such as `llama`.
        parameters: how many.
        file_bytes: of the whole file, with all its parts.
        metadata: all values by their names; arrays of text are left out, but for the tokens.
    """

    path: Path
    architecture: str
    parameters: int
    file_bytes: int
    metadata: dict[str, Any]

    def own(self, name: str, default: Any = None) -> Any:
        """A value of the architecture, such as `context_length`."""
        return self.metadata.get(f"{self.architecture}.{name}", default)

    @property
    def context_length(self) -> int:
        """How many tokens the model was trained to read."""
        return int(self.own("context_length", DEFAULT_CONTEXT))

    @property
    def chat_template(self) -> str | None:
        """The form of a conversation, as a template of Jinja; None for a model that only continues texts."""
        return self.metadata.get("tokenizer.chat_template")

    @property
    def license(self) -> str | None:
        """As its author names it; None: the file does not say."""
        return self.metadata.get("general.license")

    @property
    def tokens(self) -> list[str]:
        """The vocabulary, as the tokenizer writes it."""
        return self.metadata.get("tokenizer.ggml.tokens", [])

    def control_tokens(self) -> dict[int, str]:
        """Tokens that are no text, such as the end of a turn, by their number."""
        kinds = self.metadata.get("tokenizer.ggml.token_type", ())
        both = zip(self.tokens, kinds, strict=False)
        return {number: token for number, (token, kind) in enumerate(both) if kind == CONTROL}

    def cache_bytes(self, context: int) -> int:
        """Bytes of the keys and values (fp16) that the model keeps of `context` tokens."""
        layers, heads = int(self.own("block_count", 0)), int(np.max(self.own("attention.head_count", 1)))
        pairs = int(np.max(self.own("attention.head_count_kv", heads)))
        width = self.own("embedding_length", 0) / heads
        keys, values = (self.own(f"attention.{name}_length", width) for name in ("key", "value"))
        return int(context * layers * pairs * (keys + values) * 2)


def read_gguf(path: Path) -> GgufModel:
    """What the header of a file says, of a divided one those of all parts, which lie beside the first.

    Raises ModelFolderError, in one line, for what is no GGUF or not all of one.
    """
    model = _of_header(path, lambda header: header.read())
    for part in parts(path)[1:]:
        if not part.is_file():
            raise ModelFolderError(f"{path} is a part of a divided model, of which {part.name} is not beside it")
        _, parameters = _of_header(part, lambda header: header.values())
        size = part.stat().st_size
        model = replace(model, parameters=model.parameters + parameters, file_bytes=model.file_bytes + size)
    return model


def parts(path: Path) -> list[Path]:
    """A file, or all parts of one that was divided, as the name of one of them tells."""
    found = PART.search(path.name)
    if found is None:
        return [path]
    stem, count = path.name[: found.start()], found[2]
    return [path.with_name(f"{stem}-{number:05d}-of-{count}.gguf") for number in range(1, int(count) + 1)]


def _of_header(path: Path, read: "Callable[[_Header], Found]") -> Found:
    """What is read of a file's header. Raises ModelFolderError."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if file.read(len(MAGIC)) != MAGIC:
                raise ModelFolderError(f"{path} is not a GGUF file")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return read(_Header(path, content, size))
    except OSError as error:
        raise ModelFolderError(f"{path} cannot be read: {error.strerror}") from error
    except (struct.error, ArithmeticError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise ModelFolderError(f"{path} is damaged or not all of a GGUF file: its header cannot be read") from error


class _Header:
    """Reads the values of a header one after the other."""

    def __init__(self, path: Path, content: mmap.mmap, size: int) -> None:
        self.path, self.content, self.size = path, content, size
        self.place = len(MAGIC)

    def read(self) -> GgufModel:
        """The model of a file that is not a later part of a divided one."""
        metadata, parameters = self.values()
        if number := metadata.get("split.no", 0):
            raise ModelFolderError(f"{self.path} is part {number + 1} of a divided model; valid: its first part")
        architecture = metadata.get("general.architecture")
        if not isinstance(architecture, str):
            raise ModelFolderError(f"{self.path} does not say which architecture the model has")
        model = GgufModel(self.path, architecture, parameters, self.size, metadata)
        layers = int(model.own("block_count", 1))
        # llama.cpp ends the whole process at no layers; what cannot be reckoned with is found here too.
        if model.context_length < SHORTEST or layers < 1 or model.cache_bytes(model.context_length) < 0:
            raise ModelFolderError(
                f"{self.path} says that its model reads {model.context_length} tokens and has {layers} layers; "
                f"valid: at least {SHORTEST} and 1"
            )
        return model

    def values(self) -> tuple[dict[str, Any], int]:
        """The metadata, and how many parameters the file holds, all of which are there."""
        version = self._value(NUMBER)
        if version not in VERSIONS:
            raise ModelFolderError(f"{self.path} is GGUF of version {version}; valid: {', '.join(map(str, VERSIONS))}")
        tensors, entries = self._value(LENGTH), self._value(LENGTH)
        metadata: dict[str, Any] = {}
        for _ in range(entries):
            name = self._text()
            value = self._typed(self._value(NUMBER), keep=name == "tokenizer.ggml.tokens")
            if value is not None:
                metadata[name] = value
        parameters, end = self._tensors(tensors)
        alignment = int(metadata.get("general.alignment", 32))
        expected = -(-self.place // alignment) * alignment + end if end else self.place
        if expected > self.size:
            raise ModelFolderError(
                f"{self.path} is not all of a GGUF file: it has {self.size:,} bytes, its header speaks of {expected:,}"
            )
        return metadata, parameters

    def _tensors(self, count: int) -> tuple[int, int]:
        """How many parameters all weights have, and where the last ends, counted from the first."""
        parameters, end = 0, 0
        for _ in range(count):
            self._text()
            dimensions = self._value(NUMBER)
            if dimensions > MOST_DIMENSIONS:
                raise IndexError
            elements = math.prod(self._value(LENGTH) for _ in range(dimensions))
            kind, offset = self._value(NUMBER), self._value(LENGTH)
            values, size = BLOCKS.get(kind, (1, 0))  # of a newer type it is only known where it begins
            parameters, end = parameters + elements, max(end, offset + elements // values * size)
        return parameters, end

    def _typed(self, kind: int, *, keep: bool) -> Any:
        """A value of a type. Args: keep: an array of text too; it is passed over otherwise."""
        if kind == STRING:
            return self._text()
        if kind != ARRAY:
            return self._value(VALUES[kind])
        item, count = self._value(NUMBER), self._value(LENGTH)
        if count > self.size:
            raise IndexError
        if item in VALUES:
            form = np.dtype(VALUES[item].format)
            found = np.frombuffer(self._bytes(count * form.itemsize), form)
            return found.tolist()
        if keep:
            return [self._text() for _ in range(count)]
        for _ in range(count):
            self._typed(item, keep=False)
        return None

    def _text(self) -> str:
        return self._bytes(self._value(LENGTH)).decode(errors="replace")

    def _bytes(self, count: int) -> bytes:
        if self.place + count > self.size:
            raise IndexError
        self.place += count
        return self.content[self.place - count : self.place]

    def _value(self, form: struct.Struct) -> Any:
        (value,) = form.unpack_from(self.content, self.place)
        self.place += form.size
        return value
