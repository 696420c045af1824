"""Replies while they are being written, and what ended one that failed."""

import streamlit as st

from ui.answers import history
from ui.answers.answering import asked, describe_error, progress
from ui.chat import session
from ui.chat.pairs import SIDES
from ui.chat.replies import Reply
from ui.plain import escaped
from ui.rich_text import LONGEST, rich

REDRAW_S = 0.1
# The page follows what grows, until the visitor touches anything: below the fold it would go unseen.
FOLLOW = """<script>
(() => {
  const last = () => [...document.querySelectorAll("[data-testid=stChatMessage]")].at(-1);
  const grown = new ResizeObserver(() => last()?.scrollIntoView({block: "end"}));
  grown.observe(document.querySelector("[data-testid=stMainBlockContainer]"));
  for (const touch of ["wheel", "pointerdown", "keydown", "touchstart"])
    addEventListener(touch, () => grown.disconnect(), {once: true, passive: true});
})()
</script>"""
FOLLOWED = "chat-followed"  # the conversation whose end was shown when it was opened


def draw_coming() -> None:
    """Draw the replies of the open conversation until they are over; comes last on the page. Clicks interrupt it."""
    conversation = session.opened()
    waiting = session.replies().of(conversation.id)
    watched = any(not one.over.is_set() for one in waiting)
    if conversation.messages and (watched or st.session_state.get(FOLLOWED) != conversation.id):
        st.session_state[FOLLOWED] = conversation.id
        st.html(FOLLOW, unsafe_allow_javascript=True)
    if not waiting:
        return
    places = st.columns(len(waiting)) if len(waiting) > 1 else [st.container()]
    slots = [place.empty() for place in places]
    while True:
        for number, (reply, slot) in enumerate(zip(waiting, slots, strict=True)):
            reply.look()
            with slot.container():
                _draw(reply, "" if len(waiting) < 2 else SIDES[number] if reply.asking.hidden else reply.asking.model)
        working = [one for one in waiting if not one.over.is_set()]
        if not working:
            break
        working[0].look(REDRAW_S)
        if working[0].asking.over:  # it is being kept, or asked again with less of a document
            working[0].over.wait(REDRAW_S)
    if take_in() or watched:
        st.rerun()  # for what stands above, which was drawn before the end


def take_in() -> bool:
    """Take the replies of the open conversation into it once all are over. Whether there were such."""
    over = session.replies().of(session.opened().id)
    if not over or not all(one.over.is_set() for one in over):
        return False
    for one in over:
        if not one.asking.told and not one.asking.hidden and (one.asking.result is not None or one.asking.events):
            one.asking.told = True
            history.remember(asked(one.asking))
    written = [one.message for one in over if one.message is not None]
    for one in over:
        session.keep_finished(one)
    session.refresh()
    if len(written) > 1:  # the conversation continues with the first model's reply
        first = written[0].id
        session.write(lambda store, me, conversation: store.show(me, conversation, first))
    return bool(written)


def _draw(reply: Reply, name: str) -> None:
    asking = reply.asking
    if asking.error is not None and reply.over.is_set():
        st.error(escaped(describe_error(asking.error)), icon=":material/error:")
        return
    with st.chat_message("assistant"):
        if name:
            st.markdown(f"**{escaped(name)}**")
        st.markdown(rich(reply.text()[-LONGEST:]) or "…")
        if not asking.over:
            st.caption(f":material/pending: {escaped(progress(asking))}")
