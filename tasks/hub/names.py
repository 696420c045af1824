"""How models of the Hugging Face Hub are named."""

import re
from dataclasses import dataclass

from tasks.base import ModelFolderError

HUB_ID = re.compile(r"[A-Za-z0-9]([\w.-]*/)?[\w.-]+", re.ASCII)  # the oldest have no owner: gpt2
REVISION = re.compile(r"[A-Za-z0-9][\w./-]*")
VARIANT = re.compile(r"\w[\w./ +-]*")
FILE = re.compile(r"|\w[^\0\n\\]*\.gguf")


@dataclass(frozen=True)
class Source:
    """A model on the Hub.

    Attributes:
        revision: a commit, tag or branch.
        file: its GGUF file, the first part of a divided one; empty for a model as safetensors.
    """

    hub_id: str
    revision: str
    file: str = ""

    def __post_init__(self) -> None:
        for name, pattern in (("hub_id", HUB_ID), ("revision", REVISION), ("file", FILE)):
            value = getattr(self, name)
            if not isinstance(value, str) or not pattern.fullmatch(value) or ".." in value:
                raise ModelFolderError(f"{name} is {value!r}; valid: what the Hub calls models, commits and files")


def parse(model: str) -> tuple[str, str] | None:
    """The id, and the GGUF file if one is named, of what users type: `owner/name`, `owner/name:Q4_K_M`; else None."""
    hub_id, colon, variant = model.partition(":")
    if not HUB_ID.fullmatch(hub_id) or ".." in model or (colon and not VARIANT.fullmatch(variant)):
        return None
    return hub_id, variant
