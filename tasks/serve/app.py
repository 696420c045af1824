"""The routes of the gateway.

| | |
|---|---|
| `POST /tasks/<task>` | `{"inputs": row or [rows], "params": {...}, "model": reference, "stream": true}` |
| `GET /tasks` | tasks with their columns, parameters and registered models |
| `POST /v1/chat/completions`, `GET /v1/models` | the chatbot, as OpenAI's clients ask for it |
| `GET /healthz`, `/metrics`, `/openapi.json` | that it lives; numbers for Prometheus; all of this, for programs |

Starlette, the part of FastAPI that does the work: FastAPI's own checks answer with the input that they found wrong, and
the checks of the tasks are needed anyway.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps

import psutil
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from tasks import TASKS
from tasks.base import TaskInputError, short
from tasks.registry import ModelNotFoundError
from tasks.serve import completions
from tasks.serve.completions import Completion, in_openai_words, read_chat
from tasks.serve.description import describe_model, describe_task, openapi
from tasks.serve.gate import Gate
from tasks.serve.gateway import Gateway
from tasks.serve.metrics import CONTENT_TYPE, Metrics
from tasks.serve.reading import Order, read_json, read_order
from tasks.serve.refusals import Refusal, refusal
from tasks.serve.replies import LEFT, ClientLeft, EventStream, Json, Style, TaskStyle, refused, unless_left
from tasks.serve.settings import Settings

Handler = Callable[["Routes", Request], Awaitable[Response]]


def application(settings: Settings, gateway: Gateway, metrics: Metrics) -> Starlette:
    """The ASGI application; it closes the gateway at its end."""
    routes = Routes(settings, gateway, metrics)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await gateway.close()

    app = Starlette(
        routes=[
            Route("/tasks", routes.tasks),
            Route("/tasks/{task}", routes.task, methods=["POST"]),
            Route("/v1/chat/completions", routes.chat, methods=["POST"]),
            Route("/v1/models", routes.models),
            Route("/v1/models/{reference:path}", routes.model),
            Route("/healthz", routes.health),
            Route("/metrics", routes.numbers),
            Route("/openapi.json", routes.openapi),
        ],
        middleware=[Middleware(Gate, settings=settings, metrics=metrics)],
        exception_handlers={HTTPException: no_such_route},
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


async def no_such_route(_: Request, error: Exception) -> Response:
    """What Starlette refuses by itself: an address or a method that there is not."""
    assert isinstance(error, HTTPException)
    code, text = ("method_not_allowed", "this address does not take this method") if error.status_code == 405 else (
        "no_such_address", "there is nothing at this address; GET /openapi.json lists all")  # fmt: skip
    return refused(Refusal(error.status_code, code, text, headers=dict(error.headers or {})))


def spoken(route: str) -> Callable[[Handler], Callable[["Routes", Request], Awaitable[Response]]]:
    """Names a handler for the metrics, and turns the errors that leave it into responses."""

    def around(handler: Handler) -> Callable[["Routes", Request], Awaitable[Response]]:
        @wraps(handler)
        async def handle(self: "Routes", request: Request) -> Response:
            request.scope["route_name"] = route
            try:
                return await handler(self, request)
            except (ClientLeft, ClientDisconnect):
                return Response(status_code=LEFT)
            except Exception as error:
                return refused(refusal(error))

        return handle

    return around


class Routes:
    """The handlers; they share a gateway and the metrics."""

    def __init__(self, settings: Settings, gateway: Gateway, metrics: Metrics) -> None:
        self.settings, self.gateway, self.metrics = settings, gateway, metrics

    @spoken("task")
    async def task(self, request: Request) -> Response:
        task = request.path_params["task"]
        if task not in TASKS:
            raise Refusal(404, "unknown_task", f"unknown task {short(task)}; valid: {', '.join(TASKS)}")
        request.scope["route_name"] = task
        order = read_order(await read_json(request))
        return await unless_left(request.receive, self._reply(request, task, order, lambda _: TaskStyle()))

    @spoken("chat.completions")
    async def chat(self, request: Request) -> Response:
        body = await read_json(request)
        order, include_usage = read_chat(body)
        style = lambda model: Completion(model, include_usage)  # noqa: E731
        try:
            return await unless_left(request.receive, self._reply(request, completions.TASK, order, style))
        except TaskInputError as error:
            raise in_openai_words(error, body) from None

    async def _reply(self, request: Request, task: str, order: Order, style: Callable[[str], Style]) -> Response:
        """Wait for the whole answer, or for the first event of one that streams: what fails before has its status."""
        deadline = asyncio.get_running_loop().time() + self.settings.timeout
        client = request.client.host if request.client else ""
        async with asyncio.timeout_at(deadline):
            await self.gateway.check(task, order.rows, order.parameters)
            version = await self.gateway.directory.resolve(task, order.model)
            answer = await self.gateway.begin(
                client, version, order.rows, order.parameters, many=order.many, pieces=order.stream
            )
            try:
                first = await answer.next()
            except BaseException:
                answer.leave()
                raise
        assert first is not None  # a job that gives nothing has failed
        if order.stream:
            return EventStream(answer, first, style(version.key), deadline)
        return Json(style(version.key).whole(first))

    @spoken("tasks")
    async def tasks(self, _: Request) -> Response:
        found = await self.gateway.directory.listed()
        return Json([describe_task(task, [one for one in found if one.task == task]) for task in TASKS])

    @spoken("models")
    async def models(self, _: Request) -> Response:
        found = await self.gateway.directory.listed(completions.TASK)
        names = {version.name: version for version in reversed(found) if version.champion}
        entries = [describe_model(name, version) for name, version in names.items()]
        return Json({"object": "list", "data": entries + [describe_model(version.key, version) for version in found]})

    @spoken("models")
    async def model(self, request: Request) -> Response:
        reference = request.path_params["reference"]
        try:
            version = await self.gateway.directory.resolve(completions.TASK, reference)
        except TaskInputError as error:  # in a path, what cannot be a name is only not found
            raise ModelNotFoundError(str(error)) from None
        return Json(describe_model(reference, version))

    @spoken("healthz")
    async def health(self, _: Request) -> Response:
        if self.gateway.stopping:
            return Json({"status": "stopping"}, 503)
        return Json({"status": "ok"})

    @spoken("metrics")
    async def numbers(self, _: Request) -> Response:
        held = self.gateway.worker.statistics()
        text = self.metrics.text(
            [
                ("requests_waiting", "Requests that wait for their turn.", [("", {}, len(self.gateway.line))]),
                ("worker_busy", "1 while a model is loaded or works.", [("", {}, int(self.gateway.line.busy))]),
                ("model_bytes", "Bytes of the weights in memory.",
                 [("", {"model": key}, size) for key, size in held.loaded.items()]),
                ("model_budget_bytes", "What loaded models may take together.", [("", {}, held.budget_bytes)]),
                ("process_bytes", "Memory of the whole process.", [("", {}, psutil.Process().memory_info().rss)]),
            ]
        )  # fmt: skip
        return Response(text, headers={"Content-Type": CONTENT_TYPE})

    @spoken("openapi")
    async def openapi(self, _: Request) -> Response:
        return Json(openapi(self.settings))
