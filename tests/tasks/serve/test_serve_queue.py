"""The queue in front of the worker: bounded, fair among clients, and nobody is forgotten in it."""

import asyncio

import pytest

from tasks.runtime.jobs import QueueFullError
from tasks.serve.queue import FairQueue
from tests.support.gateway import run_async


async def join(queue: FairQueue, served: list[str], *names: str) -> list["asyncio.Task[None]"]:
    """Let requests come in this order; the letter before the number is the client."""

    async def one(name: str) -> None:
        await queue.acquire(name[0])
        served.append(name)

    tasks = []
    for name in names:
        tasks.append(asyncio.create_task(one(name)))
        await asyncio.sleep(0)
    return tasks


async def serve_all(queue: FairQueue) -> None:
    while queue.busy:
        queue.release()
        await asyncio.sleep(0)


@run_async
async def test_clients_take_turns_and_each_keeps_its_order() -> None:
    queue, served = FairQueue(20), []
    await join(queue, served, "a1", "a2", "a3", "a4", "b1", "b2", "c1")
    assert served == ["a1"] and len(queue) == 6
    await serve_all(queue)
    assert served == ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]
    assert not queue.busy and len(queue) == 0


@run_async
async def test_one_that_comes_late_waits_for_one_of_each_other_at_most() -> None:
    queue, served = FairQueue(100), []
    await join(queue, served, *(f"a{number}" for number in range(50)))
    queue.release()
    await asyncio.sleep(0)
    await join(queue, served, "b1")
    await serve_all(queue)
    assert served.index("b1") <= 3


@run_async
async def test_beyond_its_places_requests_are_turned_away() -> None:
    queue, served = FairQueue(2), []
    await join(queue, served, "a1", "a2", "b1")
    (refused,) = await join(queue, served, "a3")
    with pytest.raises(QueueFullError, match="2 requests wait already"):
        await refused
    await serve_all(queue)
    assert served == ["a1", "a2", "b1"]


@run_async
async def test_a_full_queue_of_one_client_makes_room_for_another() -> None:
    queue, served = FairQueue(3), []
    _, _, _, newest = await join(queue, served, "a1", "a2", "a3", "a4")
    await join(queue, served, "b1")
    with pytest.raises(QueueFullError):
        await newest
    (second,) = await join(queue, served, "b2")  # has one waiting, a has two: the shares are fair
    with pytest.raises(QueueFullError):
        await second
    await serve_all(queue)
    assert served == ["a1", "a2", "b1", "a3"]


@run_async
async def test_who_leaves_gives_up_the_place() -> None:
    queue, served = FairQueue(2), []
    _, leaving, _ = await join(queue, served, "a1", "b1", "c1")
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert len(queue) == 1
    await join(queue, served, "d1")
    await serve_all(queue)
    assert served == ["a1", "c1", "d1"]


@run_async
async def test_a_turn_that_comes_as_its_owner_leaves_goes_to_the_next() -> None:
    queue, served = FairQueue(2), []
    _, leaving, _ = await join(queue, served, "a1", "b1", "c1")
    queue.release()  # b1's, which has not noticed yet
    leaving.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert served == ["a1", "c1"] and queue.busy
    queue.release()
    assert not queue.busy


@run_async
async def test_clearing_sends_all_away_with_the_reason() -> None:
    queue, served = FairQueue(5), []
    _, *waiting = await join(queue, served, "a1", "a2", "b1")
    queue.fail_all(RuntimeError("closing"))
    for task in waiting:
        with pytest.raises(RuntimeError, match="closing"):
            await task
    queue.release()
    assert served == ["a1"] and not queue.busy and len(queue) == 0


@run_async
async def test_requests_for_one_model_are_served_together_as_far_as_it_can() -> None:
    at_once = {"several": 1}
    queue, served = FairQueue(20, lambda model: at_once.get(model, 1)), []

    async def one(name: str, model: str) -> None:
        await queue.acquire(name[0], model)
        served.append(name)

    asking = [("a1", "several"), ("a2", "several"), ("b1", "several"), ("b2", "other"), ("a3", "several")]
    tasks = [asyncio.create_task(one(name, model)) for name, model in asking]
    await asyncio.sleep(0)
    assert served == ["a1"]  # it is not loaded yet
    at_once["several"] = 3
    queue.admit()
    await asyncio.sleep(0)
    assert served == ["a1", "a2", "b1"]
    queue.release("several")
    await asyncio.sleep(0)
    assert served == ["a1", "a2", "b1", "a3"]  # b2 is another model's, and it is a's turn
    for _ in range(3):
        queue.release("several")
    await asyncio.gather(*tasks)
    assert served[-1] == "b2" and queue.busy
    queue.release("other")
    assert not queue.busy
