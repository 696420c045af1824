"""What people write stays text, also where it looks like a control token of the model, such as the end of a turn."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Where people wrote what looks like a control token, it stands for it until the conversation has its form.
FIRST_PRIVATE = 0xF0000
NO_WIDTH = "\N{WORD JOINER}"


def stand_ins(control: Mapping[int, str]) -> dict[str, str]:
    """An unused character for each control token. (Their numbers may be beyond all characters.)"""
    return {chr(FIRST_PRIVATE + place): text for place, text in enumerate(control.values())}


def kept_apart(messages: Sequence[dict[str, Any]], control: Mapping[int, str]) -> list[dict[str, Any]]:
    """Messages in which what looks like a control token is none: a character without width divides it.

    So it is in the calls of functions that they have.
    """
    apart = {f"{token[0]}{NO_WIDTH}{token[1:]}": token for token in control.values() if len(token) > 1}
    return [_apart({**one, "content": one.get("content") or ""}, apart) for one in messages]


def _apart(value: Any, apart: dict[str, str]) -> Any:
    """The same in all texts of a value of JSON."""
    if isinstance(value, dict):
        return {name: _apart(part, apart) for name, part in value.items()}
    if isinstance(value, list):
        return [_apart(part, apart) for part in value]
    return replaced(value, apart) if isinstance(value, str) else value


def replaced(text: str, written: dict[str, str]) -> str:
    """A text with stand-ins for what looks like control tokens, the longest first."""
    for stand_in, token in sorted(written.items(), key=lambda item: -len(item[1])):
        text = text.replace(token, stand_in)
    return text


def divided(text: str, written: dict[str, str]) -> Iterator[tuple[str, bool]]:
    """The parts of a text: what the template and people wrote, and what stands for something literal."""
    start = 0
    for place, character in enumerate(text):
        if character in written:
            if place > start:
                yield text[start:place], False
            yield written[character], True
            start = place + 1
    if start < len(text):
        yield text[start:], False
