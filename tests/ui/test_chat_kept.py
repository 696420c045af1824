"""Conversations are kept for their visitor alone; where they cannot be, that is said, and the talk goes on."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.support.chatting import ME, conversation, kept, opened, path, say
from tests.support.pages import fine, page_text
from tests.support.words import until
from ui.chat import session
from ui.conversations.store import ConversationStore, conversations_file

pytestmark = pytest.mark.usefixtures("visitor")


def test_nobody_elses_conversation_opens(chat: Any, page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    say(chat, "secret")
    monkeypatch.setattr(session, "owner", lambda: "somebody else")
    other = opened(page)
    other.query_params["conversation"] = conversation(chat).id
    fine(other.run())
    assert not other.chat_message and "secret" not in page_text(other)
    assert "This browser has no such conversation" in other.warning[0].value
    assert not [one for one in other.sidebar.button if (one.key or "").startswith("chat-open-")]


def test_a_reply_whose_visitor_reloads_goes_on_and_is_kept(tool: Path, page: Any, monkeypatch: Any) -> None:
    first = opened(page)
    with monkeypatch.context() as patch:  # the page is closed while the model writes
        patch.setattr("ui.chat.coming.draw_coming", lambda: None)
        say(first, "cat")
        until(lambda: len(kept()[0].messages) == 2)
    again = opened(page, conversation=conversation(first).id)
    assert [role for role, _ in path(again)] == ["user", "assistant"] and len(again.chat_message) == 2


def test_nothing_is_kept_of_a_temporary_chat(chat: Any) -> None:
    chat.toggle(key="chat-temporary-switch").set_value(True).run()
    say(chat, "secret")
    assert len(path(chat)) == 2 and "Temporary chat" in page_text(chat)
    assert "conversation" not in chat.query_params and kept() == []
    chat.toggle(key="chat-temporary-switch").set_value(False).run()
    assert not fine(chat).chat_message
    assert b"secret" not in conversations_file().read_bytes()


def test_a_damaged_store_is_said_in_a_line_and_chat_goes_on(tool: Path, page: Any) -> None:
    conversations_file().write_bytes(b"no database " * 1000)
    app = opened(page)
    say(app, "cat")
    assert [role for role, _ in path(app)] == ["user", "assistant"]
    assert [one.value for one in app.warning] == [
        r"Nothing is kept\: conversations\.db\: it is damaged, or no database\."
    ]
    assert conversations_file().read_bytes() == b"no database " * 1000
    conversations_file().unlink()
    app.button(key="chat-keep-again").click().run()
    assert not fine(app).warning and len(kept()[0].messages) == 2


def test_a_store_that_is_locked_in_the_middle_of_a_talk_loses_nothing(
    chat: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(chat, "cat")
    other = sqlite3.connect(conversations_file(), isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    say(chat, "dog")
    assert [text for role, text in path(chat) if role == "user"] == ["cat", "dog"] and len(path(chat)) == 4
    assert "another program holds it" in chat.warning[0].value
    other.execute("ROLLBACK")
    chat.button(key="chat-keep-again").click().run()
    assert not fine(chat).warning and len(kept()[0].messages) == 4


def test_a_browser_without_a_cookie_is_told(tool: Path, page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "owner", lambda: None)
    app = opened(page)
    say(app, "cat")
    assert "sends no cookie" in app.warning[0].value and len(path(app)) == 2
    assert not conversations_file().exists()


def test_a_conversation_that_another_tab_deleted_is_said(chat: Any) -> None:
    say(chat, "cat")
    ConversationStore(conversations_file()).delete(ME, conversation(chat).id)
    chat.chat_input(key="chat-entry").set_value("dog").run()
    assert "deleted in another window" in chat.warning[0].value
    assert not path(chat)


def test_two_tabs_in_one_conversation_lose_nothing(chat: Any, page: Any) -> None:
    say(chat, "cat")
    other = opened(page, conversation=conversation(chat).id)
    say(chat, "from one")
    say(other, "from the other")
    chat.run()
    assert path(fine(chat)) == path(other)
    said = {one.content for one in kept()[0].messages.values() if one.role == "user"}
    assert said == {"cat", "from one", "from the other"}
