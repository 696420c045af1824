"""The models in the GGUF files of a repository, by their quantization, and which of them is meant."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tasks.base import ModelFolderError, short
from tasks.hub.checks import GGUF

# As llama.cpp names them, in the names of files: model-q4_k_m.gguf, Model.Q8_0.gguf, model-IQ4_XS-00001-of-00002.gguf.
NAME = re.compile(
    r"(?<![A-Za-z0-9])(I?Q[1-8]_(?:K_(?:XXL|XL|L|M|S)|K|[01](?:_\d_\d)?|XXS|XS|S|M|NL)|TQ[12]_0|BF16|F16|F32|MXFP4)"
    r"(?![A-Za-z0-9])",
    re.IGNORECASE,
)
PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)
PROJECTOR = "mmproj"  # of pictures, for the model beside it
SMALL = 1e9  # parameters
# What is taken unless the user chooses, the best first: small models lose more by coarse weights.
DEFAULTS = ("Q4_K_M", "Q4_K_S", "Q5_K_M", "Q4_0", "Q4_1", "Q6_K", "Q8_0")
DEFAULTS_SMALL = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_1", "Q4_0", "F16", "BF16", "F32")
# Bits of a parameter, over a whole model: the size where a list of models does not tell it.
BITS = {"Q8_0": 8.5, "Q4_K_M": 4.85}


@dataclass(frozen=True)
class Variant:
    """A model in one GGUF file, or in one that was divided.

    Attributes:
        name: its quantization, such as `Q4_K_M`, or the name of its file where that does not tell.
        files: their paths in the repository, the first part first.
        bytes: of all of them.
    """

    name: str
    files: tuple[str, ...]
    bytes: int


def variants(files: Iterable[tuple[str, int]]) -> list[Variant]:
    """The models among files (path, bytes), the smallest first."""
    models: dict[str, list[tuple[str, int]]] = {}
    for path, size in sorted(files):
        name = path.rsplit("/", 1)[-1]
        if name.lower().endswith(GGUF) and not name.lower().startswith(PROJECTOR):
            models.setdefault(PART.sub("", path), []).append((path, size))
    names = [quantization(key) or key for key in models]
    found = [
        # Two files of one quantization are told apart by their names.
        Variant(name if names.count(name) == 1 else parts[0][0], tuple(path for path, _ in parts), sum(sizes(parts)))
        for name, parts in zip(names, models.values(), strict=True)
    ]
    return sorted(found, key=lambda variant: variant.bytes)


def sizes(files: Iterable[tuple[str, int]]) -> list[int]:
    """The sizes of files."""
    return [size for _, size in files]


def quantization(path: str) -> str:
    """The quantization that a file's name tells; empty if it does not."""
    found = NAME.findall(path.rsplit("/", 1)[-1]) or NAME.findall(path)
    return found[-1].upper() if found else ""


def default_name(parameters: int | None) -> str:
    """The quantization that is best for a model of a size, where all are offered."""
    return (DEFAULTS_SMALL if is_small(parameters) else DEFAULTS)[0]


def is_small(parameters: int | None) -> bool:
    return parameters is not None and parameters < SMALL


def pick(offered: list[Variant], wanted: str, parameters: int | None, hub_id: str) -> Variant:
    """The variant that the user names, by quantization or file; without a name the default.

    Raises ModelFolderError for a name that is not offered.
    """
    if wanted:
        for one in offered:
            if wanted.lower() in (one.name.lower(), *(path.lower() for path in one.files)):
                return one
        names = ", ".join(one.name for one in offered)
        raise ModelFolderError(f"{hub_id} has no {short(wanted)}; valid: {names}")
    for name in DEFAULTS_SMALL if is_small(parameters) else DEFAULTS:
        for one in offered:
            if quantization(one.files[0]) == name:
                return one
    return offered[0]
