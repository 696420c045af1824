"""A conversation to take along: as Markdown, the shown branch; as JSON, all branches."""

import json
from typing import Any

from ui.conversations.conversation import Conversation, Message

FORMAT = 1
WHO = {"user": "You", "system": "System"}


def as_markdown(conversation: Conversation) -> str:
    """The shown branch, for reading. What was written is given as it is."""
    parts = [f"# {conversation.name}"]
    system = conversation.settings.get("system", "")
    if system.strip():
        parts.append(f"## System prompt\n\n{system}")
    for one in conversation.path():
        who = WHO.get(one.role) or (not one.undecided and one.facts.get("model")) or "Model"
        documents = [f"Document: {document['name']}" for document in one.documents]
        parts.append("\n\n".join([f"## {who}", *documents, one.content]))
    return "\n\n".join(parts) + "\n"


def as_json(conversation: Conversation) -> str:
    """All that is kept of it."""
    return json.dumps(
        {
            "format": FORMAT,
            "id": conversation.id,
            "name": conversation.name,
            "settings": conversation.settings,
            "shown": conversation.leaf,
            "messages": [_described(one) for one in conversation.messages.values()],
        },
        ensure_ascii=False,
        indent=2,
    )


def _described(message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "parent": message.parent,
        "at": message.at.isoformat(timespec="seconds"),
        "role": message.role,
        "content": message.content,
        "documents": [dict(one) for one in message.documents],
        "facts": {} if message.undecided else dict(message.facts),
        "rating": message.rating,
        "comment": message.comment,
    }
