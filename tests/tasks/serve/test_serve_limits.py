"""What the gateway does not let through, and what it stops: tokens, sizes, time, full lines, clients that leave."""

import asyncio
import json
import time
from typing import Any

import pytest

from tasks.base import Task
from tasks.serve import gate
from tasks.serve.settings import Settings
from tests.support.gateway import Client, Lengths, Parrot, load, run_async, running, until, words
from tests.support.words import PATIENCE

pytestmark = pytest.mark.usefixtures("no_weights")
TEXT = {"inputs": {"text": "four"}}
SLOW = {"inputs": words(4000), "params": {"seed": 5, "max_new_tokens": 4000}}  # 20 seconds of words


@run_async
async def test_a_token_is_asked_for_everywhere_but_at_the_health_check() -> None:
    async with running(Settings(token="s3cret")) as made:
        given = {"Bearer s3cret": 200, "bearer s3cret": 200, "Bearer s3cre": 401, "s3cret": 401, "Basic s3cret": 401}
        for authorization, status in {**given, "": 401}.items():
            client = await Client(made.app, "/tasks/lengths", TEXT, authorization=authorization).ask()
            assert client.status == status, authorization
        assert client.headers["www-authenticate"] == "Bearer" and b"s3cret" not in client.content
        for path, status in (("/metrics", 401), ("/openapi.json", 401), ("/healthz", 200), ("/tasks", 401)):
            reader = Client(made.app, path, b"")
            reader.scope["method"] = "GET"
            assert (await reader.ask()).status == status
        # A Host header with a path in it is no way around, though Starlette's URL of a request begins with it.
        assert (await Client(made.app, "/tasks/lengths", TEXT, host="a/healthz?").ask()).status == 401
        # With a token, any name will do.
        client = Client(made.app, "/tasks/lengths", TEXT, authorization="Bearer s3cret", host="example.org")
        assert (await client.ask()).status == 200


@run_async
async def test_without_a_token_only_names_of_this_machine_are_answered() -> None:
    async with running() as made:
        own = ("127.0.0.1:8000", "localhost", "LOCALHOST.:8000", "[::1]:80", "[::1]", "127.1.2.3", "localhost:")
        others = (
            "evil.example", "127.0.0.1.evil.example:80", "", "[::1]evil.com", "[::1].evil.com", "[::1]@evil.com:80",
            "[::1]:80@evil", "localhost:80@evil", "localhost:80:evil", "localhost:evil", "localhost@evil", "[::1%evil]",
            "localhost/evil", "localhost,evil", "localhost evil", "[localhost]", "[::1", "::1]", "::1", "[127.0.0.1]",
            "localhost:80#evil", "localhost..", "127.0.0.1.", "127.1", "0x7f.0.0.1", "user@localhost",
            "[::ffff:8.8.8.8]", "localhost:\u0661",
        )  # fmt: skip
        names = {**dict.fromkeys(own, 200), **dict.fromkeys(others, 403)}
        for name, status in names.items():
            client = await Client(made.app, "/tasks/lengths", TEXT, host=name).ask()
            assert client.status == status, name
        for pairs in ([], [b"localhost", b"evil.example"], [b"evil.example", b"localhost"], [b"localhost"] * 2):
            client = Client(made.app, "/tasks/lengths", TEXT)
            rest = [(name, value) for name, value in client.scope["headers"] if name != b"host"]
            client.scope["headers"] = [*((b"host", value) for value in pairs), *rest]
            assert (await client.ask()).status == 403, pairs
    async with running(Settings(host="0.0.0.0")) as made:
        assert (await Client(made.app, "/tasks/lengths", TEXT, host="laptop.local").ask()).status == 200


@run_async
async def test_a_body_over_the_limit_is_refused_as_soon_as_that_is_known() -> None:
    async with running(Settings(body_mb=0.001)) as made:
        announced = await Client(made.app, "/tasks/lengths", TEXT, content_length="1001").ask()
        assert (announced.status, announced.chunks) == (413, [])  # read, or the client would be cut off while it sends
        waiting = await Client(made.app, "/tasks/lengths", TEXT, content_length="1001", expect="100-continue").ask()
        assert (waiting.status, len(waiting.chunks), waiting.headers["connection"]) == (413, 1, "close")
        endless = Client(made.app, "/tasks/lengths", b"")  # does not say how long it is
        endless.chunks = [b" " * 300] * 1000
        assert (await endless.ask()).status == 413
        assert endless.json()["error"]["message"] == "the request is larger than 0.001 MB, the most that is taken"
        assert (await Client(made.app, "/tasks/lengths", TEXT, content_length="1000").ask()).status == 200


@run_async
async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async with running(Settings(body_timeout=0.05)) as made:
        client = Client(made.app, "/tasks/lengths", TEXT)
        client.stall = True
        await client.ask()
        assert (client.status, client.json()["error"]["code"]) == (408, "body_too_slow")
        assert client.headers["connection"] == "close"


def test_a_body_where_none_belongs_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "DISCARD_S", 0.05)

    async def attack() -> None:
        async with running() as made:
            for header in ({"transfer_encoding": "chunked"}, {"content_length": "1000"}):
                client = Client(made.app, "/healthz", b"x", **header)
                client.scope["method"], client.stall = "GET", True
                await client.ask()
                assert (client.status, client.headers["connection"]) == (200, "close")
            client = Client(made.app, "/healthz", b"x", content_length="1")
            client.scope["method"] = "GET"
            assert "connection" not in (await client.ask()).headers  # all of it is there

    run_async(attack)()


@run_async
async def test_bodies_of_all_requests_together_are_bounded() -> None:
    async with running(Settings(body_mb=0.001)) as made:
        slow = [Client(made.app, "/tasks/lengths", b" " * 900) for _ in range(9)]
        for client in slow[:8]:
            client.stall = True
        tasks = [asyncio.create_task(client.ask()) for client in slow]
        await until(lambda: any(client.status for client in slow))
        assert sorted(client.status for client in slow) == [0] * 8 + [429]
        for client in slow:
            client.leave.set()
        await asyncio.gather(*tasks)
        assert (await Client(made.app, "/tasks/lengths", TEXT).ask()).status == 200  # all is given back


@run_async
async def test_an_answer_that_takes_too_long_is_stopped() -> None:
    async with running(Settings(timeout=0.3)) as made:
        for stream in (False, True):
            client = await Client(made.app, "/tasks/chatbot", {**SLOW, "stream": stream}).ask()
            if stream:
                *pieces, (name, told) = client.events()
                assert client.status == 200 and pieces and name == "error" and told["error"]["code"] == "timeout"
            else:
                assert (client.status, client.json()["error"]["code"]) == (504, "timeout")
            await until(lambda: not made.gateway.queue.busy)
            said = len(Parrot.said)
            await asyncio.sleep(0.05)
            assert len(Parrot.said) == said < 400


@run_async
async def test_waiting_counts_as_time_too() -> None:
    async with running(Settings(timeout=0.1)) as made:
        await made.gateway.queue.acquire("somebody else's, who keeps it")
        waiting = await Client(made.app, "/tasks/lengths", TEXT).ask()
        assert waiting.status == 504 and len(made.gateway.queue) == 0


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_frees_the_worker_within_one_token(stream: bool) -> None:
    async def leave() -> None:
        async with running() as made:
            client = Client(made.app, "/tasks/chatbot", {**SLOW, "stream": stream})
            asking = asyncio.create_task(client.ask())
            await until(lambda: len(Parrot.said) > 3)
            said = len(Parrot.said)
            client.leave.set()
            await until(lambda: not made.gateway.queue.busy)
            # One that was on its way when the client left, and one for the time until that was seen.
            assert len(Parrot.said) - said <= 3
            await asking
            labels = {"route": "chatbot", "status": "499"}
            assert made.metrics.registry.get_sample_value("project_dl_requests_total", labels) == 1

    run_async(leave)()


@run_async
async def test_a_client_that_leaves_the_line_gives_up_its_place() -> None:
    async with running(Settings(queue=1)) as made:
        speaking = Client(made.app, "/tasks/chatbot", SLOW)
        waiting = Client(made.app, "/tasks/lengths", TEXT)
        Lengths.batches.clear()
        tasks = [asyncio.create_task(speaking.ask())]
        await until(lambda: made.gateway.queue.busy)
        tasks.append(asyncio.create_task(waiting.ask()))
        await until(lambda: len(made.gateway.queue) == 1)
        waiting.leave.set()
        await until(lambda: len(made.gateway.queue) == 0)
        speaking.leave.set()
        await asyncio.gather(*tasks)
        assert Lengths.batches == []


@run_async
async def test_beyond_the_queue_requests_are_told_when_to_come_back() -> None:
    async with running(Settings(queue=2)) as made:
        speaking = Client(made.app, "/tasks/chatbot", SLOW)
        tasks = [asyncio.create_task(speaking.ask())]
        await until(lambda: made.gateway.queue.busy)
        waiting = [Client(made.app, "/tasks/lengths", TEXT) for _ in range(2)]
        tasks += [asyncio.create_task(client.ask()) for client in waiting]
        await until(lambda: len(made.gateway.queue) == 2)
        refused = await Client(made.app, "/tasks/lengths", TEXT).ask()
        assert (refused.status, refused.json()["error"]["code"]) == (429, "queue_full")
        assert int(refused.headers["retry-after"]) >= 1
        speaking.leave.set()
        await asyncio.gather(*tasks)
        assert [client.status for client in waiting] == [200, 200]


@run_async
async def test_clients_take_turns_however_much_one_asks() -> None:
    async with running() as made:
        answered: list[str] = []

        async def ask(address: str) -> None:
            await Client(made.app, "/tasks/lengths", TEXT, client=address).ask()
            answered.append(address)

        speaking = Client(made.app, "/tasks/chatbot", SLOW)
        tasks = [asyncio.create_task(speaking.ask())]
        await until(lambda: made.gateway.queue.busy)
        tasks += [asyncio.create_task(ask("10.0.0.1")) for _ in range(10)]
        await until(lambda: len(made.gateway.queue) == 10)
        tasks += [asyncio.create_task(ask("10.0.0.2")) for _ in range(2)]
        await until(lambda: len(made.gateway.queue) == 12)
        speaking.leave.set()
        await asyncio.gather(*tasks)
        assert answered[:4] == ["10.0.0.1", "10.0.0.2"] * 2


@run_async
async def test_stopping_ends_streams_sends_those_that_wait_away_and_takes_no_more() -> None:
    async with running() as made:
        speaking = Client(made.app, "/tasks/chatbot", {**SLOW, "stream": True})
        waiting = Client(made.app, "/tasks/lengths", TEXT)
        tasks = [asyncio.create_task(client.ask()) for client in (speaking, waiting)]
        await speaking.until(lambda: b"part" in speaking.content)
        await until(lambda: len(made.gateway.queue) == 1)
        await made.gateway.stop()
        await asyncio.gather(*tasks)
        assert speaking.events()[-1][0] == "error" and speaking.events()[-1][1]["error"]["code"] == "stopped"
        late = await Client(made.app, "/tasks/lengths", TEXT).ask()
        assert waiting.status == late.status == 503
    assert made.gateway.worker.statistics().loaded == {}


@run_async
async def test_while_a_model_loads_the_server_answers_and_who_waits_may_leave() -> None:
    gate = asyncio.Event()
    loop = asyncio.get_running_loop()

    def loads(key: str) -> Task:
        asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(PATIENCE)
        return load(key)

    async with running(loads=loads) as made:
        client = Client(made.app, "/tasks/lengths", TEXT)
        asking = asyncio.create_task(client.ask())
        await until(lambda: made.gateway.queue.busy)
        health = Client(made.app, "/healthz", b"")
        health.scope["method"] = "GET"
        assert (await health.ask()).status == 200
        client.leave.set()
        await asking
        gate.set()
        assert (await Client(made.app, "/tasks/lengths", TEXT).ask()).status == 200


@run_async
async def test_thirty_two_clients_all_get_their_own_answer() -> None:
    async with running() as made:

        async def ask(number: int) -> list[Any]:
            lengths = []
            for turn in range(5):
                text = "x" * (number * 5 + turn + 1)
                client = await Client(made.app, "/tasks/lengths", json.dumps({"inputs": {"text": text}}).encode()).ask()
                lengths.append(client.json()["length"] - len(text))
            return lengths

        started = time.monotonic()
        assert await asyncio.gather(*map(ask, range(32))) == [[0.0] * 5] * 32
        assert time.monotonic() - started < PATIENCE
