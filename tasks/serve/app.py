"""The routes of the gateway.

| | |
|---|---|
| `POST /tasks/<task>` | `{"inputs": row or [rows], "params": {...}, "model": reference, "stream": true}` |
| `GET /tasks` | tasks with their columns, parameters and registered models |
| `POST /v1/chat/completions`, `/v1/completions`, `GET /v1/models` | chats and stories, as OpenAI's clients ask |
| `GET /healthz`, `/metrics`, `/openapi.json` | health check; metrics for Prometheus; schema of all routes |
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from tasks import TASKS, task_class
from tasks.base import TaskInputError, short
from tasks.registry import ModelNotFoundError, RegisteredVersion
from tasks.serve.bodies import TaskEvent, TaskRequest, TaskResult, parameter_schemas, task_body
from tasks.serve.completion_formats import ChatFormat, TextFormat
from tasks.serve.completions import STORY, ChatBody, CompletionBody, TextBody
from tasks.serve.errors import ApiError, ErrorBody, invalid
from tasks.serve.gate import BEARER, Gate
from tasks.serve.gateway import Gateway
from tasks.serve.metrics import Metrics
from tasks.serve.responses import (
    AnswerFormat,
    AnswerStream,
    ClientLeft,
    Json,
    TaskFormat,
    error_response,
    unless_left,
)
from tasks.serve.settings import CHATBOT, Settings
from tasks.version import __version__

# The shape of every error; docs/serving.md lists the statuses. ("4XX" also keeps FastAPI's own 422 away.)
ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": ErrorBody, "description": "what was sent cannot be used, or not now"},
    "5XX": {"model": ErrorBody, "description": "the model, the registry or the time did not suffice"},
}


def application(settings: Settings, gateway: Gateway, metrics: Metrics) -> FastAPI:
    """The ASGI application; it closes the gateway at its end."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await gateway.close()

    app = FastAPI(
        title="Project-DL gateway",
        version=__version__,
        description="Every registered task at one address.",
        docs_url=None,  # both pages load a CDN
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        default_response_class=Json,
        generate_unique_id_function=lambda route: route.name,
        exception_handlers={HTTPException: _on_error, RequestValidationError: _on_error},
    )
    app.add_middleware(Gate, settings=settings, metrics=metrics)
    routes = Routes(settings, gateway, metrics)
    app.add_route("/healthz", routes.health, name="healthz")  # Starlette's: asked often, it has nothing to check
    # The gate has asked for the token before a body is read; this declares it in `/openapi.json`.
    add = partial(app.add_api_route, dependencies=[Depends(BEARER)] if settings.token else [])
    add("/tasks", routes.tasks, name="tasks", responses=ERRORS)
    for task in TASKS:
        add(
            f"/tasks/{task}",
            routes.of_task(task),
            name=task,
            methods=["POST"],
            summary=_summary(task),
            description=inspect.getdoc(task_class(task)) or "",
            response_model=TaskResult | list[TaskResult],
            responses={200: _events(TaskEvent.model_json_schema()), **ERRORS},
        )
    add("/tasks/{task}", _no_such_task, methods=["POST"], name="task", include_in_schema=False)
    chunks = {200: _events({"type": "object", "required": ["data"]}), **ERRORS}
    add("/v1/chat/completions", routes.chat, name="chat.completions", methods=["POST"], responses=chunks)
    add("/v1/completions", routes.text, name="completions", methods=["POST"], responses=chunks)
    add("/v1/models", routes.models, name="models", responses=ERRORS)
    add("/v1/models/{model:path}", routes.model, name="model", responses=ERRORS)
    add("/metrics", routes.numbers, name="metrics", response_class=PlainTextResponse, responses=ERRORS)
    return app


def _events(schema: dict[str, Any]) -> dict[str, Any]:
    """Of an answer that may be a stream: in OpenAPI 3.1 the schema of each event."""
    return {"content": {"text/event-stream": {"schema": schema}}}


def _summary(task: str) -> str:
    return (inspect.getdoc(task_class(task)) or task).splitlines()[0]


async def _on_error(_: Request, error: Exception) -> Response:
    if isinstance(error.__cause__, ClientDisconnect):
        raise ClientLeft
    return error_response(error)


async def _no_such_task(task: str) -> Response:
    raise ApiError(404, "unknown_task", f"unknown task {short(task)}; valid: {', '.join(TASKS)}")


class Routes:
    """The handlers; they share a gateway and the metrics. Errors that leave them become responses in the gate."""

    def __init__(self, settings: Settings, gateway: Gateway, metrics: Metrics) -> None:
        self.settings, self.gateway, self.metrics = settings, gateway, metrics

    def of_task(self, task: str) -> Callable[..., Awaitable[Response]]:
        """The handler of requests to a task."""
        body_type = task_body(task)

        async def handle(request: Request, body: body_type) -> Response:  # type: ignore[valid-type]
            asked = body.request()
            return await unless_left(request.receive, self._reply(request, task, asked, lambda _: TaskFormat()))

        return handle

    async def chat(self, request: Request, body: ChatBody) -> Response:
        """The next reply of a conversation, as OpenAI's API has it."""
        return await self._completion(
            request, CHATBOT, body, body.request(), lambda model: ChatFormat(model, body.include_usage)
        )

    async def text(self, request: Request, body: TextBody) -> Response:
        """The continuation of a text, as OpenAI's API has it."""
        echoed = body.prompts if body.echo else [""] * len(body.prompts)
        return await self._completion(
            request, STORY, body, body.request(), lambda model: TextFormat(model, body.include_usage, echoed=echoed)
        )

    async def _completion(
        self,
        request: Request,
        task: str,
        body: CompletionBody,
        asked: TaskRequest,
        format_of: Callable[[str], AnswerFormat],
    ) -> Response:
        try:
            return await unless_left(request.receive, self._reply(request, task, asked, format_of))
        except TaskInputError as error:
            name = str(error).replace("[", " ").split()[0]
            raise invalid(str(error), name if name in type(body).model_fields else None) from None

    async def _reply(
        self, request: Request, task: str, asked: TaskRequest, format_of: Callable[[str], AnswerFormat]
    ) -> Response:
        """Wait for the whole answer, or for the first event of one that streams: what fails before has its status."""
        deadline = asyncio.get_running_loop().time() + self.settings.timeout
        client = request.client.host if request.client else ""
        async with asyncio.timeout_at(deadline):
            await self.gateway.check(task, asked.rows, asked.parameters)
            version = await self.gateway.directory.resolve(task, asked.model)
            answer = await self.gateway.begin(client, version, asked, deadline)
            try:
                first = await answer.next()
            except BaseException:
                answer.leave()
                raise
        assert first is not None  # a job that gives nothing has failed
        if asked.stream:
            return AnswerStream(answer, first, format_of(version.key))
        answer.leave()
        return Json(format_of(version.key).whole(first))

    async def tasks(self) -> Response:
        """Tasks with their columns (true: required), parameters and registered models."""
        found = await self.gateway.directory.listed()
        return Json([_describe(task, [one for one in found if one.task == task]) for task in TASKS])

    async def models(self) -> Response:
        """Models of the chatbot, as OpenAI lists them."""
        found = await self.gateway.directory.listed(CHATBOT)
        names = {version.name: version for version in reversed(found) if version.champion}
        entries = [_describe_model(name, version) for name, version in names.items()]
        return Json({"object": "list", "data": entries + [_describe_model(version.key, version) for version in found]})

    async def model(self, model: str) -> Response:
        """A model of the chatbot."""
        try:
            version = await self.gateway.directory.resolve(CHATBOT, model)
        except TaskInputError as error:  # in a path, what cannot be a name is only not found
            raise ModelNotFoundError(str(error)) from None
        return Json(_describe_model(model, version))

    async def health(self, _: Request) -> Response:
        """Whether the server lives."""
        if self.gateway.stopping:
            return Json({"status": "stopping"}, 503)
        return Json({"status": "ok"})

    async def numbers(self) -> Response:
        """Numbers for Prometheus."""
        held = self.gateway.worker.statistics()
        self.metrics.waiting.set(len(self.gateway.queue))
        self.metrics.busy.set(self.gateway.queue.busy)
        self.metrics.budget.set(held.budget_bytes)
        self.metrics.set_loaded(held.loaded)
        return Response(generate_latest(self.metrics.registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


def _describe(task: str, versions: Sequence[RegisteredVersion]) -> dict[str, Any]:
    cls = task_class(task)
    return {
        "task": task,
        "description": _summary(task),
        "inputs": dict(cls.inputs),
        "params": parameter_schemas(cls),
        "models": [{"model": one.key, "name": one.model, "champion": one.champion} for one in versions],
    }


def _describe_model(reference: str, version: RegisteredVersion) -> dict[str, Any]:
    """A registered version as OpenAI lists its models."""
    created = int(version.created.timestamp())
    return {"id": reference, "object": "model", "created": created, "owned_by": version.model}
