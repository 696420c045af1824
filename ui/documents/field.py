"""A place for documents in a form: their text goes into a field, where it is seen and may be changed."""

import re
from typing import NamedTuple

import streamlit as st

from ui.documents.reading import KINDS, MOST_MB, DocumentError, read_document
from ui.plain import escaped

MOST_FILES = 10
HEADING = "=== {} ==="  # a line that says where a document begins
LINES = re.compile(r"^=== (.+) ===$|^[ \t]*$", re.MULTILINE)


class Passage(NamedTuple):
    """A paragraph of a text: which document it is from ("" for none), its number there, and its place."""

    document: str
    number: int
    start: int
    end: int


def document_field(target: str, *, headed: bool = False) -> None:
    """Draw it, above the text field with the key `target`.

    Args: headed: whether a line before each of several documents names it, as `passages` reads it.
    """
    key = f"{target}-document"
    with st.popover("Read documents", icon=":material/upload_file:"):
        st.file_uploader(
            "Documents whose text is put into the field below",
            list(KINDS),
            key=key,
            accept_multiple_files=True,
            max_upload_size=MOST_MB,
            on_change=_fill,
            args=(key, target, headed),
        )
    for note in st.session_state.get(f"{key}-notes", ()):
        st.caption(escaped(note))
    for fault in st.session_state.get(f"{key}-faults", ()):
        st.error(escaped(fault), icon=":material/error:")


def passages(text: str) -> list[Passage]:
    """The paragraphs of a text, with the documents that `document_field` put them in from."""
    found: list[Passage] = []
    document, number, start = "", 0, 0
    for line in [*LINES.finditer(text), None]:
        end = line.start() if line else len(text)
        part = text[start:end]
        if part.strip():
            number += 1
            found.append(Passage(document, number, start + len(part) - len(part.lstrip("\n")), end))
        if line:
            start = line.end()
            if line[1]:
                document, number = line[1], 0
    return found


def _fill(key: str, target: str, headed: bool) -> None:
    files = st.session_state.get(key) or []
    documents, notes, faults = [], [], []
    for file in files[:MOST_FILES]:
        try:
            documents.append(read_document(file.name, file.getvalue()))
        except DocumentError as error:
            faults.append(f"{error}.")
    if files[MOST_FILES:]:
        faults.append(f"{len(files)} documents were chosen; valid: at most {MOST_FILES}. The first ones were read.")
    several = len(documents) > 1
    for one in documents:
        notes += [f"{one.name}: {note}" if several else note for note in one.notes]
    st.session_state[f"{key}-notes"], st.session_state[f"{key}-faults"] = notes, faults
    if documents:
        heads = [f"{HEADING.format(one.name)}\n" if headed and several else "" for one in documents]
        parts = [head + one.text.strip() for head, one in zip(heads, documents, strict=True)]
        text, before = "\n\n".join(parts), st.session_state.get(target) or ""
        if before.strip() and before != st.session_state.get(f"{key}-filled"):
            # It was typed or changed by the visitor, and is not thrown away.
            text = "\n\n".join([before.rstrip(), *(part for part in parts if part not in before)])
        st.session_state[target] = st.session_state[f"{key}-filled"] = text
