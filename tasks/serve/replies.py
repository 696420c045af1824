"""What goes back to clients: JSON that is JSON, errors, streams of events; and seeing that a client has left."""

import asyncio
import json
import math
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tasks.base import Row
from tasks.serve.gateway import Answer
from tasks.serve.refusals import Refusal, refusal

Result = TypeVar("Result")
LEFT = 499  # what nginx calls it; nobody is there to read it, but the metrics count it


class ClientLeft(Exception):  # noqa: N818
    """The client has closed its connection."""


def to_json(value: Any) -> bytes:
    """JSON in UTF-8. What JSON does not know is replaced: NaN and infinity by null, half a surrogate pair by `?`."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, (list, tuple)) else value


class Json(Response):
    """A JSON response."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return to_json(content)


def refused(error: Refusal) -> Json:
    """The response of a refusal."""
    return Json(error.body(), error.status, error.headers)


class Style(Protocol):
    """How an answer is written: whole, or event by event on a stream."""

    def whole(self, row: Row) -> Any:
        """The JSON of an answer that is not streamed."""
        ...

    def start(self) -> bytes:
        """What a stream begins with."""
        ...

    def event(self, event: Row) -> bytes:
        """An event; the last one is the output row."""
        ...

    def error(self, error: Refusal) -> bytes:
        """An error after the start."""
        ...


def sent_event(data: Any, name: str | None = None) -> bytes:
    """A server-sent event: https://html.spec.whatwg.org/multipage/server-sent-events.html."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + to_json(data) + b"\n\n"


class TaskStyle:
    """The task's own rows; on a stream `part` events, last a `row` event with the output row, or an `error` event."""

    def whole(self, row: Row) -> Any:
        return row.get("rows", row)

    def start(self) -> bytes:
        return b""

    def event(self, event: Row) -> bytes:
        return sent_event(event, "row" if is_output(event) else "part")

    def error(self, error: Refusal) -> bytes:
        return sent_event(error.body(), "error")


def is_output(event: Row) -> bool:
    """Whether an event is the output row: every one of those, and no other event, names the model."""
    return "model" in event


class EventStream(Response):
    """The rest of an answer whose first event is there, as server-sent events. Ends the job when the client leaves."""

    media_type = "text/event-stream"

    def __init__(self, answer: Answer, first: Row, style: Style, deadline: float) -> None:
        """Args: deadline: by the event loop's clock."""
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._answer, self._first, self._style, self._deadline = answer, first, style, deadline

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await unless_left(receive, self._send_all(send))
        except ClientLeft:
            scope["left"] = True
        finally:
            self._answer.leave()

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async with asyncio.timeout_at(self._deadline):
                event: Row | None = self._first
                await _send_body(send, self._style.start())
                while event is not None:
                    await _send_body(send, self._style.event(event))
                    event = await self._answer.next()
        except Exception as error:
            self._answer.leave()
            await _send_body(send, self._style.error(refusal(error)))
        await _send_body(send, b"", more=False)


async def _send_body(send: Send, body: bytes, *, more: bool = True) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": more})


async def unless_left(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result:
    """Do some work while the client, whose request has been read, is there. Raises ClientLeft as soon as it is not."""
    working, watching = asyncio.ensure_future(work), asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientLeft
        return working.result()
    finally:
        working.cancel()
        watching.cancel()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
