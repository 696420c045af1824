"""What goes back to clients: JSON that is JSON, errors, streams of events; and seeing that a client has left."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from fastapi.sse import EventSourceResponse, format_sse_event
from pydantic_core import PydanticSerializationError, from_json, to_json
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from tasks.base import Row
from tasks.serve.errors import ApiError, api_error
from tasks.serve.gateway import PendingAnswer

Result = TypeVar("Result")


class ClientLeft(Exception):  # noqa: N818
    """The client has closed its connection."""


def dump_json(value: Any) -> bytes:
    """JSON in UTF-8. What JSON does not know is replaced: NaN and infinity by null, half a surrogate pair by `?`."""
    try:
        return to_json(value, inf_nan_mode="null")
    except PydanticSerializationError:
        text = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
        return to_json(from_json(text), inf_nan_mode="null")


class Json(JSONResponse):
    """A JSON response."""

    def render(self, content: Any) -> bytes:
        return dump_json(content)


def error_response(error: Exception) -> Json:
    """The response of an error."""
    told = api_error(error)
    return Json(told.body(), told.status_code, told.headers)


class AnswerFormat(ABC):
    """How an answer is written: whole, or event by event on a stream."""

    @abstractmethod
    def whole(self, row: Row) -> Any:
        """The JSON of an answer that is not streamed."""

    @abstractmethod
    def event(self, event: Row) -> bytes:
        """An event; the last one is the output row."""

    @abstractmethod
    def error(self, error: ApiError) -> bytes:
        """An error after the start."""

    def start(self) -> bytes:
        """What a stream begins with."""
        return b""


def sent_event(data: Any, name: str | None = None) -> bytes:
    """A server-sent event with JSON as its data."""
    return format_sse_event(data_str=dump_json(data).decode(), event=name)


def is_output(event: Row) -> bool:
    """Whether an event is the output row: every one of those, and no other event, names the model."""
    return "model" in event


class TaskFormat(AnswerFormat):
    """The task's own rows; on a stream `part` events, last a `row` event with the output row, or an `error` event."""

    def whole(self, row: Row) -> Any:
        return row.get("rows", row)

    def event(self, event: Row) -> bytes:
        return sent_event(event, "row" if is_output(event) else "part")

    def error(self, error: ApiError) -> bytes:
        return sent_event(error.body(), "error")


class AnswerStream(EventSourceResponse):
    """The rest of an answer whose first event is there, as server-sent events. Ends the job when the client leaves."""

    def __init__(self, answer: PendingAnswer, first: Row, written: AnswerFormat) -> None:
        super().__init__(self._events(first), headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._answer, self._format = answer, written

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._answer.leave()

    async def _events(self, first: Row) -> AsyncIterator[bytes]:
        event: Row | None = first
        try:
            yield self._format.start()
            while event is not None:
                yield self._format.event(event)
                event = await self._answer.next()
        except Exception as error:
            self._answer.leave()
            yield self._format.error(api_error(error))


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
