"""Where a message is written: examples to click in an empty conversation, the input field, the stop button."""

import streamlit as st

from ui.answers.answering import REFUSED, refusal
from ui.chat import session
from ui.chat.asking import TASK, Asker
from ui.chat.messages import MOST
from ui.documents.reading import KINDS, MOST_MB, DocumentError, read_document
from ui.panels import panel
from ui.plain import escaped

ENTRY, UNSENT = "chat-entry", "chat-unsent"


def draw_opening(asker: Asker) -> None:
    """Draw what an empty conversation is for, and examples; a click sends one."""
    chat = panel(TASK)
    st.caption(escaped(chat.about))
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.caption("Examples", width="content")
        for number, example in enumerate(chat.examples):
            st.button(
                escaped(example.label),
                key=f"chat-example-{number}",
                on_click=asker.say,
                args=(example.row["messages"][-1]["content"], None),
            )


def draw_composer(asker: Asker, *, busy: bool) -> None:
    """Draw the field at the bottom of the window, and what is wrong with the last message."""
    with st.bottom:
        refused = refusal()
        if refused:
            st.error(escaped(refused), icon=":material/error:")
            if UNSENT in st.session_state:
                st.code(st.session_state.pop(UNSENT), language=None, wrap_lines=True)
        if busy:
            st.button("Stop", key="chat-stop", icon=":material/stop:", on_click=session.stop)
        st.chat_input(
            "Your message",
            key=ENTRY,
            disabled=busy or not asker.versions,
            max_chars=MOST,
            accept_file="multiple",
            file_type=list(KINDS),
            max_upload_size=MOST_MB,
            on_submit=_send,
            args=(asker,),
        )


def _send(asker: Asker) -> None:
    given = st.session_state.get(ENTRY)
    text, files = (given.text or "", given.files) if given else ("", [])
    try:
        documents = [read_document(file.name, file.getvalue()).plain() for file in files]
    except DocumentError as error:
        st.session_state[REFUSED] = f"{error}. Nothing was sent{'; your message:' if text.strip() else '.'}"
        if text.strip():
            st.session_state[UNSENT] = text
        return
    if text.strip() or documents:
        asker.say(text, session.opened().leaf, documents)
