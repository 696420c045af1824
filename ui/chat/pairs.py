"""Two replies side by side to one message: which one is continued, or, of a blind pair, which is better."""

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from tasks.runs.votes import Preference, Vote
from ui.answers import blind, history
from ui.chat import session
from ui.chat.asking import TASK
from ui.chat.message import asked_of, draw_facts, draw_text
from ui.conversations.conversation import Conversation, Message
from ui.plain import escaped

SIDES = ("Left", "Right")


def pair_of(conversation: Conversation, message: Message) -> list[Message]:
    """The replies that were written side by side with the last one, if there are such."""
    pair = message.facts.get("pair")
    both = [one for one in conversation.siblings(message) if pair and one.facts.get("pair") == pair]
    return sorted(both, key=lambda one: one.facts.get("side", 0)) if len(both) > 1 else []


def draw_pair(conversation: Conversation, pair: Sequence[Message]) -> None:
    """Draw them; the models' names come after the vote where they are kept back."""
    hidden = pair[0].undecided
    for column, message, side in zip(st.columns(len(pair)), pair, SIDES, strict=True):
        with column, st.chat_message("assistant"):
            st.markdown(f"**{side if hidden else escaped(_name(message))}**")
            draw_text(message.content, message.id)
            if hidden:
                continue
            draw_facts(message.facts)
            chosen = conversation.leaf == message.id
            st.button(
                "The conversation continues with this one" if chosen else "Continue with this one",
                key=f"chat-choose-{message.id}",
                type="tertiary",
                disabled=chosen,
                on_click=session.show,
                args=(message.id,),
            )
    blind.draw_note()
    if hidden:
        st.subheader("Which reply is better?")
        left, right = pair
        blind.draw_choices(left.id, lambda choice: _vote(left, right, choice))


def _name(message: Message) -> str:
    """The model and the version: the two may be versions of one model."""
    return f"{message.facts.get('model', '')} ({message.facts.get('reference', '')})"


def _vote(left: Message, right: Message, choice: Preference) -> None:
    """Keep a vote in MLflow and with both replies; the conversation continues with the better one."""
    session.refresh()  # another tab may have voted, or deleted it
    pair = pair_of(session.opened(), left)
    if not pair or any(one.facts.get("vote") for one in pair):
        return
    conversation = session.opened()
    first, second = asked_of(conversation, left), asked_of(conversation, right)
    vote = Vote(TASK, first.reference, second.reference, choice)
    answers = {"left": first.result, "right": second.result}
    if not blind.keep_vote(vote, (first.model, second.model), first.row, first.parameters, answers, first.at):
        return
    for message, asked in ((left, first), (right, second)):
        voted = replace(message, facts={**message.facts, "vote": choice})
        session.write(lambda store, me, conversation, voted=voted: store.replace(me, conversation, voted))
        history.remember(asked)
    if choice in blind.DECIDED:
        session.show((left if choice == "left" else right).id)
