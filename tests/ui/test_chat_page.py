"""The chat page: conversations, branches, replies that are stopped and continued, two models, documents."""

from pathlib import Path
from typing import Any

import pytest
import streamlit as st

from tasks.runtime.jobs import Job
from tests.support.chatting import ME, conversation, kept, opened, path, say
from tests.support.pages import fine, page_text, press, slowly, texts
from ui.conversations.conversation import Conversation, Message
from ui.conversations.store import ConversationStore, conversations_file

pytestmark = pytest.mark.usefixtures("visitor")
HOSTILE = "<script>alert(1)</script> [x](javascript:alert(1)) ![i](https://evil.example/i.png) **b** :red[r]"


def test_a_conversation_goes_on_and_a_new_visit_shows_it_again(chat: Any, page: Any) -> None:
    say(chat, "cat\nand more")
    say(chat, HOSTILE)
    roles = [role for role, _ in path(chat)]
    assert roles == ["user", "assistant"] * 2 and len(chat.chat_message) == 4
    assert "<script>" not in page_text(chat) and "](<https://evil" in page_text(chat) and "![i]" not in page_text(chat)
    assert "javascript:" not in page_text(chat) and "**b**" in page_text(chat)
    assert "tokens/s" in texts(chat) or "token" in page_text(chat)
    identity = conversation(chat).id
    assert chat.query_params == {"conversation": identity, "model": "chatbot/1"}
    assert [one.label for one in chat.sidebar.button if one.key == f"chat-open-{identity}"] == ["cat"]
    again = opened(page, conversation=identity)
    assert path(again) == path(chat) and len(again.chat_message) == 4
    assert again.number_input(key="chat-set-max_new_tokens").value == 8
    asked = chat.session_state["history"][0]
    assert asked.row["messages"] == [{"role": role, "content": text} for role, text in path(chat)[:3]]


def test_any_message_is_edited_and_its_branches_are_kept(chat: Any) -> None:
    say(chat, "cat")
    say(chat, "dog")
    before = path(chat)
    first = conversation(chat).path()[0]
    chat.button(key=f"chat-edit-{first.id}").click().run()
    chat.text_area(key=f"chat-edited-{first.id}").set_value("moon").run()
    press(chat, "Send")
    assert path(fine(chat))[0] == ("user", "moon") and len(path(chat)) == 2
    assert "2/2" in page_text(chat)
    edited = conversation(chat).path()[0]
    chat.button(key=f"chat-left-{edited.id}").click().run()
    assert path(fine(chat)) == before and "1/2" in page_text(chat)
    chat.button(key=f"chat-right-{first.id}").click().run()
    assert path(fine(chat))[0] == ("user", "moon")

    press(chat, "Regenerate")
    assert chat.number_input(key="chat-set-seed").value == 1
    assert len(conversation(chat).siblings(conversation(fine(chat)).path()[-1])) == 2
    (stored,) = kept()
    assert len(stored.messages) == 7 and stored.leaf == conversation(chat).leaf


def test_a_reply_that_ended_at_the_limit_is_continued_in_place(chat: Any) -> None:
    say(chat, "cat")
    begun = conversation(chat).path()[-1]
    assert begun.facts["finish_reason"] == "length"
    press(chat, "Continue")
    reply = conversation(fine(chat)).path()[-1]
    assert reply.id == begun.id and reply.content.startswith(begun.content) and len(reply.content) > len(begun.content)
    assert len(conversation(chat).messages) == 2 and kept()[0].path()[-1].content == reply.content


def test_the_system_prompt_the_window_and_what_was_not_seen_are_told(chat: Any) -> None:
    chat.text_area(key="chat-system").set_value("wet").run()
    say(chat, "cat")
    assert chat.session_state["history"][0].row["messages"][0] == {"role": "system", "content": "wet"}
    facts = conversation(chat).path()[-1].facts
    assert facts["window"] > facts["prompt_tokens"] > 0
    assert f"context {facts['prompt_tokens'] + facts['tokens']:,} of {facts['window']:,}" in texts(chat)


def test_two_models_reply_side_by_side_and_one_goes_on(chat: Any) -> None:
    chat.toggle(key="tasks-side-chatbot").set_value(True).run()
    say(chat, "cat")
    question, reply = conversation(chat).path()
    both = conversation(chat).siblings(reply)
    assert {one.facts["reference"] for one in both} == {"chatbot/1", "chatbot/2"}
    assert reply.facts["reference"] == "chatbot/1" and len(chat.chat_message) == 3
    other = next(one for one in both if one.id != reply.id)
    chat.button(key=f"chat-choose-{other.id}").click().run()
    assert conversation(fine(chat)).leaf == other.id
    say(chat, "dog")
    assert conversation(chat).path()[1].id == other.id and question.id == conversation(chat).path()[0].id


def test_conversations_are_searched_renamed_taken_along_and_deleted(chat: Any) -> None:
    say(chat, "about cats")
    first = conversation(chat).id
    press(chat, "New chat")
    assert not fine(chat).chat_message and chat.query_params == {"model": "chatbot/1"}
    say(chat, "about dogs")
    second = conversation(chat).id

    def names() -> list[str]:
        return [one.label for one in chat.sidebar.button if (one.key or "").startswith("chat-open-")]

    assert names() == ["about dogs", "about cats"]
    chat.text_input(key="chat-search").set_value("cats").run()
    assert names() == ["about cats"]
    chat.text_input(key="chat-search").set_value("").run()
    chat.text_input(key=f"chat-name-{second}").set_value("*Mine*").run()
    chat.button(key="chat-rename").click().run()
    assert r"\*Mine\*" in names() and len(chat.get("download_button")) == 2
    chat.button(key=f"chat-open-{first}").click().run()
    assert path(fine(chat))[0] == ("user", "about cats")
    chat.button(key="chat-delete").click().run()
    assert not fine(chat).chat_message and [one.id for one in kept()] == [second]


def test_a_reply_that_is_stopped_keeps_its_beginning(chat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from ui.chat import replies

    chat.number_input(key="chat-set-max_new_tokens").set_value(60).run()
    look = replies.Reply.look

    def stop_soon(reply: Any, wait: float = 0.0) -> None:
        look(reply, wait)
        if len(reply.asking.events) >= 2:
            reply.asking.stop()

    monkeypatch.setattr(replies.Reply, "look", stop_soon)
    monkeypatch.setattr("ui.chat.coming.REDRAW_S", 0.001)
    monkeypatch.setattr(Job, "_must_stop", slowly(Job._must_stop))
    say(chat, "cat")
    reply = conversation(chat).path()[-1]
    assert reply.facts["stopped"] and reply.content and "stopped" in page_text(chat)
    assert kept()[0].path()[-1].content == reply.content


def test_a_model_that_is_gone_leaves_its_conversations_readable(chat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    say(chat, "cat")
    monkeypatch.setattr("ui.session.registered", list)
    st.cache_data.clear()
    chat.run()
    assert len(fine(chat).chat_message) == 2 and chat.chat_input(key="chat-entry").disabled
    assert "No chat model is registered" in page_text(chat)


def test_a_model_that_fails_is_said_and_the_message_stays(chat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from tasks.base import ModelFolderError
    from ui.session import services

    def broken(key: str) -> Any:
        raise ModelFolderError("the folder is damaged")

    monkeypatch.setattr(services().worker._models, "_load", broken)
    chat.chat_input(key="chat-entry").set_value("cat").run()
    assert chat.error[0].value == "the folder is damaged"
    assert path(chat) == [("user", "cat")]


def test_what_cannot_be_asked_is_said_and_not_kept(chat: Any) -> None:
    chat.number_input(key="chat-set-max_new_tokens").set_value(5000).run()
    chat.chat_input(key="chat-entry").set_value("cat").run()
    assert "max" in chat.error[0].value and not path(chat)


def test_a_question_of_the_history_begins_a_conversation(tool: Path, page: Any) -> None:
    app = page("tasks")
    app.selectbox(key="tasks-task").set_value("chatbot").run()
    assert not app.chat_input and not [one for one in app.button if one.label == "Run"]
    messages = [{"role": "system", "content": "wet"}, {"role": "user", "content": "cat"}]
    app.session_state["chat-reused"] = messages
    app.run()
    app.switch_page("views/chat.py").run()
    assert path(fine(app)) == [("user", "cat")] and app.text_area(key="chat-system").value == "wet"


def test_a_long_message_is_shown_in_part(chat: Any) -> None:
    store = ConversationStore(conversations_file())
    long = Conversation()
    store.add(ME, long, Message("user", "x" * 2**20))
    app = chat
    app.query_params["conversation"] = long.id
    app.run()
    assert "The first 20,000 of 1,048,576 characters" in page_text(fine(app)).replace("\\", "")
    assert sum(len(str(one.value)) for one in app.markdown) < 100_000


def test_of_a_long_conversation_the_end_is_shown_and_the_rest_at_a_click(chat: Any) -> None:
    store, long = ConversationStore(conversations_file()), Conversation()
    for number in range(45):
        store.add(ME, long, Message("assistant" if number % 2 else "user", f"turn {number}.", parent=long.leaf))
    chat.query_params["conversation"] = long.id
    fine(chat.run())
    assert len(chat.chat_message) == 20 and "turn 25" in page_text(chat) and "turn 24" not in page_text(chat)
    press(chat, "Show 20 earlier messages")
    assert len(fine(chat).chat_message) == 40
    press(chat, "Show 5 earlier messages")
    assert len(fine(chat).chat_message) == 45 and "turn 0\\." in page_text(chat)


def test_a_document_is_dropped_into_a_message_and_cut_to_the_models_window(chat: Any) -> None:
    field = chat.chat_input(key="chat-entry")
    field.upload("long.txt", b"the cat sat on the mat. " * 500)
    field.set_value("What sat?").run()
    question, reply = conversation(fine(chat)).path()
    (document,) = question.documents
    assert 0 < document["used"] < len(document["text"]) == 12_000
    assert reply.facts["prompt_tokens"] <= reply.facts["window"]
    assert f"Only the first {document['used']:,} of 12,000 characters fit" in texts(chat)
    assert kept()[0].path()[0].documents == (document,)
    assert chat.session_state["history"][0].row["messages"][0]["content"].startswith("[long.txt]\nthe cat")


def test_a_document_that_cannot_be_read_is_said_and_what_was_typed_is_given_back(chat: Any) -> None:
    field = chat.chat_input(key="chat-entry")
    field.upload("scan.pdf", b"no pdf at all")
    field.set_value("my long question").run()
    assert "scan\\.pdf is no PDF file" in chat.error[0].value
    assert [one.value for one in chat.code] == ["my long question"] and not path(chat)
