"""Answers in the shapes of OpenAI's completions: whole, or as the chunks of a stream."""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from fastapi.sse import format_sse_event

from tasks.base import Row
from tasks.serve.errors import ApiError
from tasks.serve.responses import AnswerFormat, is_output, sent_event

# Fields of a row that clients of OpenAI get too where they say more than this: words that the model does not know,
# messages or a beginning that the window had no room for, a system message that the chat template drops.
KNOWN: Mapping[str, Any] = {"unknown": None, "dropped_messages": 0, "system_seen": True, "truncated": False}
DONE = format_sse_event(data_str="[DONE]")


@dataclass(frozen=True)
class CompletionFormat(AnswerFormat):
    """What both kinds share. Args: model: what is answered as the model; include_usage: at the end of a stream."""

    model: str
    include_usage: bool = False
    created: int = field(default_factory=lambda: int(time.time()))
    number: str = field(default_factory=lambda: uuid.uuid4().hex)
    kind: ClassVar[str]
    prefix: ClassVar[str]

    def error(self, error: ApiError) -> bytes:
        return sent_event(error.body()) + DONE

    def answer(self, choices: Sequence[dict[str, Any]], rows: Sequence[Row]) -> dict[str, Any]:
        """A whole answer, with what only this gateway says of it."""
        return {**self._head(self.kind), "choices": list(choices), "usage": _usage(rows), **_own(*rows)}

    def chunk(self, choice: dict[str, Any], *last: Row) -> bytes:
        """A chunk of a stream; the last one of an answer brings what only this gateway says of it."""
        usage = {"usage": None} if self.include_usage else {}
        return sent_event({**self._head(self._chunks), "choices": [choice], **usage, **_own(*last)})

    def end(self, row: Row) -> bytes:
        """What a stream ends with behind its last chunk."""
        if not self.include_usage:
            return DONE
        return sent_event({**self._head(self._chunks), "choices": [], "usage": _usage([row])}) + DONE

    @property
    def _chunks(self) -> str:
        return self.kind

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": f"{self.prefix}-{self.number}", "object": kind, "created": self.created, "model": self.model}


@dataclass(frozen=True)
class ChatFormat(CompletionFormat):
    """Of a chat. llama.cpp's own answers have these shapes already."""

    kind = "chat.completion"
    prefix = "chatcmpl"

    @property
    def _chunks(self) -> str:
        return f"{self.kind}.chunk"

    def whole(self, row: Row) -> dict[str, Any]:
        message = {"role": "assistant", "content": row["reply"], "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": row["finish_reason"]}
        return self.answer(row.get("choices", [choice]), [row])

    def start(self) -> bytes:
        return self.chunk(_part(0, {"role": "assistant", "content": ""}))

    def event(self, event: Row) -> bytes:
        if is_output(event):
            end = b"" if "choices" in event else self.chunk(_part(0, {}, event["finish_reason"]), event)
            return end + self.end(event)
        if "choice" in event:
            return self.chunk({"logprobs": None, "finish_reason": None, **event["choice"]})
        return self.chunk(_part(0, {"content": event["piece"]}))


def _part(index: int, delta: dict[str, str], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


@dataclass(frozen=True)
class TextFormat(CompletionFormat):
    """Of texts. Args: echoed: what each answer begins with: its prompt, or nothing."""

    echoed: Sequence[str] = ("",)
    kind = "text_completion"
    prefix = "cmpl"

    def whole(self, row: Row) -> dict[str, Any]:
        rows = row.get("rows", [row])
        texts = [begun + one["completion"] for begun, one in zip(self.echoed, rows, strict=True)]
        choices = [
            _text(index, text, one["finish_reason"]) for index, (text, one) in enumerate(zip(texts, rows, strict=True))
        ]
        return self.answer(choices, rows)

    def start(self) -> bytes:
        return self.chunk(_text(0, self.echoed[0])) if self.echoed[0] else b""

    def event(self, event: Row) -> bytes:
        if is_output(event):
            return self.chunk(_text(0, "", event["finish_reason"]), event) + self.end(event)
        return self.chunk(_text(0, event["piece"]))


def _text(index: int, text: str, finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}


def _own(*rows: Row) -> dict[str, Any]:
    return {name: row[name] for row in rows for name, usual in KNOWN.items() if row.get(name, usual) != usual}


def _usage(rows: Sequence[Row]) -> dict[str, int]:
    read, written = (sum(row[name] for row in rows) for name in ("prompt_tokens", "tokens"))
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
