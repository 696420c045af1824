"""Conversations: their branches, the store that keeps them, and what is said where it cannot."""

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from ui.conversations.conversation import UNNAMED, Conversation, Message, name_of, row_of
from ui.conversations.export import as_json, as_markdown
from ui.conversations.schema import VERSION
from ui.conversations.store import ConversationStore, MissingError, NotKeptError, conversations_file

ME, OTHER = "me", "somebody else"
HOSTILE = "<script>'; DROP TABLE messages; -- % _ \u202e ع \U0001f600 Z͑ͫ̓ͪ̂ͫ"


@pytest.fixture
def store(tmp_path: Path) -> ConversationStore:
    return ConversationStore(tmp_path / "conversations.db")


def talk(store: ConversationStore, *texts: str, owner: str = ME) -> Conversation:
    """A kept conversation; its turns take turns."""
    conversation = Conversation(settings={"system": "be brief"})
    for number, text in enumerate(texts):
        role = "assistant" if number % 2 else "user"
        store.add(owner, conversation, Message(role, text, parent=conversation.leaf))
    return conversation


def texts(conversation: Conversation) -> list[str]:
    return [one.content for one in conversation.path()]


@pytest.mark.parametrize("file", ["conversations.db", None])
def test_what_was_kept_is_read_again_whole(tmp_path: Path, file: str | None) -> None:
    store = ConversationStore(tmp_path / file if file else None)
    kept = talk(store, HOSTILE, "ok")
    reply = Message("assistant", "", kept.leaf, ({"name": "a.pdf", "text": "x", "notes": []},), {"tokens": 3}, -1, "no")
    store.add(ME, kept, reply)
    again = ConversationStore(tmp_path / file) if file else store
    assert again.read(ME, kept.id) == kept
    assert again.read(ME, kept.id).path()[-1] == reply


def test_only_its_owner_finds_reads_or_changes_a_conversation(store: ConversationStore) -> None:
    kept = talk(store, "mine")
    assert store.listed(OTHER) == []
    stranger = Conversation(kept.id, leaf=kept.leaf, messages=dict(kept.messages))
    for attempt in (
        lambda: store.read(OTHER, kept.id),
        lambda: store.add(OTHER, stranger, Message("user", "x", parent=kept.leaf)),
        lambda: store.replace(OTHER, stranger, replace(kept.path()[0], content="x")),
        lambda: store.show(OTHER, stranger, "nowhere"),
        lambda: store.rename(OTHER, kept.id, "x"),
        lambda: store.read(ME, "no such id"),
    ):
        with pytest.raises(MissingError):
            attempt()
    store.delete(OTHER, kept.id)
    assert store.read(ME, kept.id) == kept
    with pytest.raises(NotKeptError):  # an id that another owner has
        store.add(OTHER, Conversation(kept.id), Message("user", "x"))


def test_the_list_is_searched_in_names_and_messages_and_the_last_changed_is_first(store: ConversationStore) -> None:
    first, second = talk(store, "Cats\nand more", "They purr: 100% sure"), talk(store, "Dogs", "They bark_s")
    assert [one.name for one in store.listed(ME)] == ["Dogs", "Cats"]
    store.rename(ME, first.id, " About\ncats ")
    assert [one.name for one in store.listed(ME)] == ["About", "Dogs"]
    for search, found in (
        ("purr", [first.id]),
        ("BARK_", [second.id]),
        ("_", [second.id]),
        ("%", [first.id]),
        ("they", [first.id, second.id]),
        ("about", [first.id]),
        ("' OR 1=1", []),
    ):
        assert [one.id for one in store.listed(ME, search)] == found, search
    assert len(store.listed(ME, most=1)) == 1


def test_deleting_takes_the_messages_along(store: ConversationStore, tmp_path: Path) -> None:
    kept, left = talk(store, "a", "b"), talk(store, "c")
    store.delete(ME, kept.id)
    store.delete(ME, kept.id)
    assert [one.id for one in store.listed(ME)] == [left.id]
    with sqlite3.connect(tmp_path / "conversations.db") as look:
        assert look.execute("SELECT content FROM messages").fetchall() == [("c",)]
    with pytest.raises(MissingError):  # a second tab that still shows it
        store.add(ME, kept, Message("user", "d", parent=kept.leaf))


def test_branches_are_kept_and_one_is_shown(store: ConversationStore) -> None:
    kept = talk(store, "one", "first", "two", "second")
    question = kept.path()[2]
    store.add(ME, kept, Message("user", "two, edited", parent=question.parent))
    edited = kept.path()[-1]
    store.add(ME, kept, Message("assistant", "other", parent=edited.id))
    assert texts(kept) == ["one", "first", "two, edited", "other"]
    assert [one.content for one in kept.siblings(edited)] == ["two", "two, edited"]
    store.show(ME, kept, kept.newest_leaf(question.id))
    assert texts(store.read(ME, kept.id)) == ["one", "first", "two", "second"]
    store.replace(ME, kept, replace(kept.path()[-1], content="second, longer", rating=1))
    read = store.read(ME, kept.id).path()[-1]
    assert (read.content, read.rating) == ("second, longer", 1)
    assert len(read.id) == 32 and len(kept.messages) == 6


def test_two_tabs_write_into_one_conversation_and_nothing_is_lost(store: ConversationStore) -> None:
    one = talk(store, "hello", "hi")
    other = store.read(ME, one.id)
    store.add(ME, one, Message("user", "from one tab", parent=one.leaf))
    store.add(ME, other, Message("user", "from the other", parent=other.leaf))
    read = store.read(ME, one.id)
    assert texts(read) == ["hello", "hi", "from the other"]
    assert [message.content for message in read.siblings(read.path()[-1])] == ["from one tab", "from the other"]


def test_many_threads_write_at_once(store: ConversationStore) -> None:
    kept = talk(store, "begin")

    def write(number: int) -> None:
        own = store.read(ME, kept.id)
        for turn in range(10):
            store.add(ME, own, Message("user", f"{number}-{turn}", parent=own.leaf))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(8)))
    assert len(store.read(ME, kept.id).messages) == 81


def test_a_tree_with_a_circle_is_still_drawn() -> None:
    one, other = Message("user", "a", id="1", parent="2"), Message("assistant", "b", id="2", parent="1")
    damaged = Conversation(leaf="1", messages={"1": one, "2": other})
    assert len(damaged.path()) <= 3 and damaged.newest_leaf("1") in ("1", "2")
    assert Conversation(leaf="gone").path() == []


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "conversations.db"
    with sqlite3.connect(file) as newer:
        newer.execute("CREATE TABLE conversations (other)")
        newer.execute(f"PRAGMA user_version = {VERSION + 1}")
    before = file.read_bytes()
    with pytest.raises(NotKeptError, match=rf"newer version of Project-DL wrote it \(schema {VERSION + 1}, known"):
        ConversationStore(file)
    with sqlite3.connect(file) as look:
        assert look.execute("SELECT name FROM sqlite_master WHERE type='table'").fetchall() == [("conversations",)]
    assert len(file.read_bytes()) == len(before)


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_store_is_said_and_not_touched(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "conversations.db"
    file.write_bytes(content)
    with pytest.raises(NotKeptError, match=r"conversations\.db: it is damaged"):
        ConversationStore(file)
    assert file.read_bytes() == content


def test_a_store_that_is_damaged_while_it_is_used_is_said(store: ConversationStore, tmp_path: Path) -> None:
    kept = talk(store, "hello")
    with sqlite3.connect(tmp_path / "conversations.db") as other:
        other.execute("DROP TABLE messages")
    with pytest.raises(NotKeptError, match="damaged"):
        store.read(ME, kept.id)


def test_what_is_no_json_is_damage(store: ConversationStore, tmp_path: Path) -> None:
    kept = talk(store, "hello")
    with sqlite3.connect(tmp_path / "conversations.db") as other:
        other.execute("UPDATE messages SET facts = '{broken'")
    with pytest.raises(NotKeptError, match=r"conversations\.db: "):
        store.read(ME, kept.id)


def test_a_locked_store_is_said_soon(store: ConversationStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = talk(store, "hello")
    monkeypatch.setattr("ui.conversations.store.LOCK_S", 0.05)
    impatient = ConversationStore(tmp_path / "conversations.db")
    other = sqlite3.connect(tmp_path / "conversations.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(NotKeptError, match="another program holds it"):
        impatient.add(ME, kept, Message("user", "x", parent=kept.leaf))
    assert texts(impatient.read(ME, kept.id)) == ["hello"]  # readers do not wait for a writer
    other.execute("ROLLBACK")
    other.close()
    impatient.add(ME, kept, Message("user", "x", parent=kept.leaf))


def test_a_full_disk_is_said_and_nothing_half_done_stays(store: ConversationStore) -> None:
    kept = talk(store, "hello")

    def fill(connection: sqlite3.Connection, *_: object) -> None:
        connection.execute("PRAGMA max_page_count = 1")

    sa.event.listen(store._engine, "checkout", fill)
    with pytest.raises(NotKeptError, match="no space left on its disk"):
        store.add(ME, kept, Message("user", "x" * 100_000, parent=kept.leaf))
    assert texts(kept) == texts(store.read(ME, kept.id)) == ["hello"]


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotKeptError, match="it cannot be opened"):
        ConversationStore(tmp_path / "gone" / "conversations.db")


def test_a_conversation_moves_to_another_store(store: ConversationStore) -> None:
    kept, memory = talk(store, "one", "two"), ConversationStore(None)
    memory.take(ME, kept)
    assert memory.read(ME, kept.id) == kept
    memory.add(ME, kept, Message("user", "three", parent=kept.leaf))  # while the first store is locked
    store.take(ME, kept)
    store.take(ME, kept)
    assert store.read(ME, kept.id) == kept and len(kept.messages) == 3
    with pytest.raises(NotKeptError):
        store.take(OTHER, kept)


def test_a_megabyte_is_kept(store: ConversationStore) -> None:
    kept = talk(store, "x" * 2**20)
    assert len(store.read(ME, kept.id).path()[0].content) == 2**20 and len(kept.name) == 60


def test_the_file_is_where_the_setting_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROJECT_DL_CONVERSATIONS")
    assert conversations_file() == Path(__file__).resolve().parents[2] / "conversations.db"
    monkeypatch.setenv("PROJECT_DL_CONVERSATIONS", "elsewhere.db")
    assert conversations_file() == Path("elsewhere.db")


@pytest.mark.parametrize(
    ("text", "name"),
    [("\n  Hi \t there\nmore", "Hi there"), ("", UNNAMED), (" \n ", UNNAMED), ("x" * 61, "x" * 59 + "…")],
)
def test_a_conversation_is_named_by_its_first_line(text: str, name: str) -> None:
    assert name_of(text) == name


def test_the_model_is_given_turns_that_take_turns_and_documents_as_far_as_they_are_used() -> None:
    document = {"name": "a.txt", "text": "abcdef", "notes": [], "used": 3}
    path = [Message("user", "first"), Message("user", "What is it?", documents=(document,)), Message("assistant", "It")]
    assert row_of(path, " be brief ") == {
        "messages": [
            {"role": "system", "content": " be brief "},
            {"role": "user", "content": "first\n\n[a.txt]\nabc\n\nWhat is it?"},
            {"role": "assistant", "content": "It"},
        ]
    }
    assert row_of([Message("user", "", documents=({**document, "used": None},))], " ")["messages"] == [
        {"role": "user", "content": "[a.txt]\nabcdef"}
    ]


def test_exports_have_what_was_said(store: ConversationStore) -> None:
    kept = talk(store, "# Hello\n`x`", "*Hi*")
    store.add(ME, kept, Message("user", "other", parent=None))
    store.show(ME, kept, kept.newest_leaf(next(iter(kept.messages))))
    text = as_markdown(kept)
    assert text.startswith("# # Hello\n") and "## System prompt\n\nbe brief" in text
    assert "## You\n\n# Hello\n`x`\n\n## Model\n\n*Hi*\n" in text and "other" not in text
    data = json.loads(as_json(kept))
    assert [one["content"] for one in data["messages"]] == ["# Hello\n`x`", "*Hi*", "other"]
    assert data["shown"] == kept.leaf and data["messages"][1]["parent"] == data["messages"][0]["id"]
