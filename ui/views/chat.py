"""Page: conversations with registered models, kept for the browser that began them."""

import streamlit as st

from ui.answers.starter_note import draw_starter_note
from ui.chat import session
from ui.chat.asking import TASK
from ui.chat.coming import draw_coming, take_in
from ui.chat.composer import draw_composer, draw_opening
from ui.chat.links import draw_notes, follow_link, name_link
from ui.chat.messages import draw_messages
from ui.chat.settings import draw_settings
from ui.chat.sidebar import draw_sidebar
from ui.session import versions

st.title("Chat")
models = [one for one in versions() if one.task == TASK]
follow_link({one.key for one in models})
session.refresh()
take_in()
draw_sidebar()
asker = draw_settings(models)
draw_notes()
busy = session.busy()
conversation = session.opened()
opening = st.empty()  # which clears itself: what stood in it would stay, paler, until the first reply is over
if conversation.messages:
    draw_messages(conversation, asker, busy=busy)
elif asker.versions:
    with opening.container():
        draw_starter_note(asker.versions[0])
        draw_opening(asker)
name_link(asker)
draw_composer(asker, busy=busy)
draw_coming()
