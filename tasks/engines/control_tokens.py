"""What people write stays text, also where it looks like a control token of the model, such as the end of a turn."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

# Where people wrote what looks like a control token, it stands for it until the conversation has its form.
FIRST_PRIVATE = 0xF0000
NO_WIDTH = "\N{WORD JOINER}"


def stand_ins(control: Mapping[int, str]) -> dict[str, str]:
    """An unused character for each control token."""
    return {chr(FIRST_PRIVATE + number): text for number, text in control.items()}


def kept_apart(messages: Sequence[dict[str, Any]], control: Mapping[int, str]) -> list[dict[str, Any]]:
    """Messages in which what looks like a control token is none: a character without width divides it."""
    apart = {f"{token[0]}{NO_WIDTH}{token[1:]}": token for token in control.values() if len(token) > 1}
    return [{**one, "content": replaced(one.get("content") or "", apart)} for one in messages]


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
