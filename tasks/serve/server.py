"""The gateway as a process: the parts put together, uvicorn, and how it ends."""

import socket
import sys

import uvicorn

from tasks import TASKS, registry, task_class
from tasks.base import Task
from tasks.runs import open_store, readable_errors
from tasks.runtime.worker import GIGABYTE, Worker
from tasks.serve.app import application
from tasks.serve.connections import BoundedServer, most_connections
from tasks.serve.directory import Directory
from tasks.serve.gateway import Gateway
from tasks.serve.metrics import Metrics
from tasks.serve.rows import RequestTask
from tasks.serve.settings import Settings

# After the work was told to end: for connections to close, before they are cut.
GRACE_S = 10
# Longer than clients keep an idle connection: else one would send on a connection that is being closed.
KEEP_ALIVE_S = 75


class Server(BoundedServer):
    """Ends streams before it waits for connections to close; uvicorn itself would wait for the longest answer."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway, most: int) -> None:
        super().__init__(config, most)
        self.gateway = gateway

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self.gateway.stop()
        await super().shutdown(sockets)


def serve(settings: Settings, listening: socket.socket, address: str) -> None:
    """Serve on a socket until a signal comes."""
    with readable_errors():
        open_store()  # creates it on a first start
    for task in TASKS:
        task_class(task)  # here, not in the first request
    metrics = Metrics()
    worker = Worker(load, settings.memory_bytes, expected_bytes)
    gateway = Gateway(worker, Directory(), metrics, settings.queue)
    config = uvicorn.Config(
        application(settings, gateway, metrics),
        ws="none",
        log_level="error",  # uvicorn warns of each request that is not HTTP: whoever sends them could fill the disk
        timeout_graceful_shutdown=GRACE_S,
        timeout_keep_alive=KEEP_ALIVE_S,
        server_header=False,
    )
    most = most_connections(settings.queue)
    if most <= settings.queue:
        print(
            f"warning: {settings.queue} requests may wait, but this system lets the gateway keep {most} connections; "
            "raise `ulimit -n`, or lower --queue",
            file=sys.stderr,
        )
    locked = "with a token" if settings.token else "without a token"
    print(
        f"serving {len(TASKS)} tasks at {address}, {locked}; models may take {settings.memory_bytes / GIGABYTE:.1f} GB",
        flush=True,
    )
    Server(config, gateway, most).run(sockets=[listening])


def load(key: str) -> Task:
    """The loaded model of a registered version, for requests."""
    return RequestTask(registry.load(key))


def expected_bytes(key: str) -> int | None:
    """What a registered version will take in memory, if registering counted it."""
    with readable_errors():
        return registry.find(key).memory_bytes
