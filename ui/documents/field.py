"""A place for a document in a form: its text goes into a field, where it is seen and may be changed."""

import streamlit as st

from ui.documents.reading import KINDS, MOST_MB, DocumentError, read_document
from ui.plain import escaped


def document_field(target: str) -> None:
    """Draw it, above the text field with the key `target`."""
    key = f"{target}-document"
    with st.popover("Read a document", icon=":material/upload_file:"):
        st.file_uploader(
            "A document whose text is put into the field below",
            list(KINDS),
            key=key,
            max_upload_size=MOST_MB,
            on_change=_fill,
            args=(key, target),
        )
    for note in st.session_state.get(f"{key}-notes", ()):
        st.caption(escaped(note))
    fault = st.session_state.get(f"{key}-fault")
    if fault:
        st.error(escaped(fault), icon=":material/error:")


def _fill(key: str, target: str) -> None:
    file = st.session_state.get(key)
    st.session_state[f"{key}-notes"], st.session_state[f"{key}-fault"] = (), ""
    if file is None:
        return
    try:
        document = read_document(file.name, file.getvalue())
    except DocumentError as error:
        st.session_state[f"{key}-fault"] = f"{error}."
        return
    st.session_state[target] = document.text
    st.session_state[f"{key}-notes"] = tuple(document.notes)
