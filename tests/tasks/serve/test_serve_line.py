"""The line in front of the worker: bounded, fair among clients, and nobody is forgotten in it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tasks.serve.line import Line, LineFullError


def in_line(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Runs a coroutine as a test."""
    return lambda: asyncio.run(asyncio.wait_for(test(), 20))  # type: ignore[arg-type]


async def join(line: Line, served: list[str], *names: str) -> list["asyncio.Task[None]"]:
    """Let requests come in this order; the letter before the number is the client."""

    async def one(name: str) -> None:
        await line.turn(name[0])
        served.append(name)

    tasks = []
    for name in names:
        tasks.append(asyncio.create_task(one(name)))
        await asyncio.sleep(0)
    return tasks


async def serve_all(line: Line) -> None:
    while line.busy:
        line.pass_on()
        await asyncio.sleep(0)


@in_line
async def test_clients_take_turns_and_each_keeps_its_order() -> None:
    line, served = Line(20), []
    await join(line, served, "a1", "a2", "a3", "a4", "b1", "b2", "c1")
    assert served == ["a1"] and len(line) == 6
    await serve_all(line)
    assert served == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]
    assert not line.busy and len(line) == 0


@in_line
async def test_one_that_comes_late_waits_for_one_of_each_other_at_most() -> None:
    line, served = Line(100), []
    await join(line, served, *(f"a{number}" for number in range(50)))
    line.pass_on()
    await asyncio.sleep(0)
    await join(line, served, "b1")
    await serve_all(line)
    assert served.index("b1") <= 3


@in_line
async def test_beyond_its_places_requests_are_turned_away() -> None:
    line, served = Line(2), []
    await join(line, served, "a1", "a2", "b1")
    (refused,) = await join(line, served, "a3")
    with pytest.raises(LineFullError, match="2 requests wait already"):
        await refused
    await serve_all(line)
    assert served == ["a1", "a2", "b1"]


@in_line
async def test_a_full_line_of_one_client_makes_room_for_another() -> None:
    line, served = Line(3), []
    _, _, _, newest = await join(line, served, "a1", "a2", "a3", "a4")
    await join(line, served, "b1")
    with pytest.raises(LineFullError):
        await newest
    (second,) = await join(line, served, "b2")  # has one waiting, a has two: the shares are fair
    with pytest.raises(LineFullError):
        await second
    await serve_all(line)
    assert served == ["a1", "a2", "b1", "a3"]


@in_line
async def test_who_leaves_gives_up_the_place() -> None:
    line, served = Line(2), []
    _, leaving, _ = await join(line, served, "a1", "b1", "c1")
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert len(line) == 1
    await join(line, served, "d1")
    await serve_all(line)
    assert served == ["a1", "c1", "d1"]


@in_line
async def test_a_turn_that_comes_as_its_owner_leaves_goes_to_the_next() -> None:
    line, served = Line(2), []
    _, leaving, _ = await join(line, served, "a1", "b1", "c1")
    line.pass_on()  # b1's, which has not noticed yet
    leaving.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert served == ["a1", "c1"] and line.busy
    line.pass_on()
    assert not line.busy


@in_line
async def test_clearing_sends_all_away_with_the_reason() -> None:
    line, served = Line(5), []
    _, *waiting = await join(line, served, "a1", "a2", "b1")
    line.clear(RuntimeError("closing"))
    for task in waiting:
        with pytest.raises(RuntimeError, match="closing"):
            await task
    line.pass_on()
    assert served == ["a1"] and not line.busy and len(line) == 0
