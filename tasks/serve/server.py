"""The gateway as a process: the parts put together, uvicorn, and how it ends."""

import asyncio
import socket
import sys

import uvicorn

from tasks import TASKS, registry, task_class
from tasks.base import ModelFolderError, Task, TaskInputError
from tasks.hub.source import runs_on_llama
from tasks.runs import StoreUnreachableError, open_store, readable_errors
from tasks.runtime.loaded import GIGABYTE
from tasks.runtime.rows import RequestTask, work
from tasks.runtime.worker import Worker
from tasks.serve.app import application
from tasks.serve.connections import BoundedServer, most_connections
from tasks.serve.directory import Directory
from tasks.serve.gateway import Gateway
from tasks.serve.metrics import Metrics
from tasks.serve.settings import CHATBOT, Settings
from tasks.serve.warming import Warming

# After the work was told to end: for connections to close, before they are cut.
GRACE_S = 10
# Longer than clients keep an idle connection: else one would send on a connection that is being closed.
KEEP_ALIVE_S = 75


class Server(BoundedServer):
    """Ends streams before it waits for connections to close; uvicorn itself would wait for the longest answer."""

    def __init__(self, config: uvicorn.Config, gateway: Gateway, most: int, *, preload: bool) -> None:
        super().__init__(config, most)
        self.gateway, self.preload = gateway, preload

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.preload:
            self._preloading = asyncio.create_task(preload(self.gateway))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self.gateway.stop()
        await super().shutdown(sockets)


async def preload(gateway: Gateway) -> None:
    """Load the champion of the chatbot, if it is GGUF: the first request then waits less. Others take long to load."""
    try:
        version = await gateway.directory.resolve(CHATBOT)
        if runs_on_llama(await asyncio.to_thread(registry.model_folder, version)):
            gateway.worker.submit(version.key, work([], many=True))
    except (registry.ModelNotFoundError, TaskInputError, ModelFolderError, StoreUnreachableError):
        return  # the first request gets the error


def serve(settings: Settings, listening: socket.socket, address: str, warming: Warming | None = None) -> None:
    """Serve on a socket until a signal comes."""
    with readable_errors():
        open_store()  # creates it on a first start
    for task in TASKS:
        task_class(task)  # here, not in the first request
    metrics = Metrics()

    def load(key: str) -> Task:
        task = RequestTask(registry.load(key))
        if warming is not None:
            warming.end()
        return task

    worker = Worker(load, settings.memory_bytes, registry.expected)
    gateway = Gateway(worker, Directory(), metrics, settings.queue)
    config = uvicorn.Config(
        application(settings, gateway, metrics),
        ws="none",
        log_level="error",  # uvicorn warns of each request that is not HTTP: many of them could fill the disk
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
    Server(config, gateway, most, preload=settings.preload).run(sockets=[listening])
