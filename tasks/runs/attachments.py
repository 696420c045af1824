"""What is in rows, packed for a trace: pictures and long texts become files beside it, and come back as they were."""

import base64
import binascii
import contextlib
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.artifacts import download_artifacts
from mlflow.tracing.attachments import Attachment

MAX_TEXT = 100_000  # characters; longer ones lie beside the trace, as pictures do
MAX_BYTES = 64 * 2**20
# How the base64 of pictures begins, alone or in a data URL.
PICTURE = re.compile(r"(?P<head>data:image/[a-z]+;base64,)?(?P<data>(?P<png>iVBORw0KGgo)|/9j/)")
TEXT = "text"


class AnswerTooLargeError(ValueError):
    """An answer is too large to be logged."""


def packed(value: Mapping[str, Any], kinds: dict[str, str]) -> Any:
    """A row as a trace holds it: pictures and long texts become attachments; `kinds` notes by their ids what they were.

    Raises AnswerTooLargeError.
    """
    size = len(json.dumps(value, default=str))
    if size > MAX_BYTES:
        raise AnswerTooLargeError(f"the answer has {size / 1e6:.0f} MB; at most {MAX_BYTES / 1e6:.0f} MB are logged")
    return _pack(value, kinds)


def _pack(value: Any, kinds: dict[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {storable(str(name)): _pack(part, kinds) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_pack(part, kinds) for part in value]
    if isinstance(value, bytes):
        value = base64.b64encode(value).decode()
    if not isinstance(value, str):
        return value
    text, kind, content_type, content = storable(value), TEXT, "text/plain", None
    if match := PICTURE.match(text):
        with contextlib.suppress(binascii.Error):
            content = base64.b64decode(text[match.start("data") :], validate=True)
            kind, content_type = match["head"] or "", "image/png" if match["png"] else "image/jpeg"
    # MLflow itself would make an attachment of any other data URL.
    if content is None and (len(text) > MAX_TEXT or text.startswith("data:")):
        content = text.encode()
    if content is None:
        return text
    attachment = Attachment(content_type=content_type, content_bytes=content)
    kinds[attachment.id] = kind
    return attachment


def content(artifacts: str, attachment_id: str, kind: str) -> str:
    """An attachment as the text that it was made of. Args: artifacts: the URI of the trace's files."""
    with tempfile.TemporaryDirectory() as temporary:
        file = download_artifacts(artifact_uri=f"{artifacts}/attachments/{attachment_id}", dst_path=temporary)
        found = Path(file).read_bytes()
    return found.decode() if kind == TEXT else kind + base64.b64encode(found).decode()


def unpacked(value: Any, contents: Mapping[str, str]) -> Any:
    """A row with the attachments back in their places: those of this answer only, whatever the user has typed."""
    if isinstance(value, Mapping):
        return {name: unpacked(part, contents) for name, part in value.items()}
    if isinstance(value, list):
        return [unpacked(part, contents) for part in value]
    reference = Attachment.parse_ref(value) if isinstance(value, str) else None
    return contents.get(str(reference["attachment_id"]), value) if reference else value


def storable(text: str) -> str:
    """A text without NUL and halves of surrogate pairs, which databases refuse."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
