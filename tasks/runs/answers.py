"""The tool's answers, logged as MLflow traces with their ratings, and read again.

A trace fits better than a run: MLflow's UI lists what went in and out beside how long it took, shows pictures, and
knows a user's rating as an assessment, which may change later. Each answer is one trace of one span in the experiment
`answers`, written at once: what failed is raised here, not dropped by a queue.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import AssessmentSource, Feedback, SpanType, Trace
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from tasks.runs.attachments import content, packed, storable, unpacked
from tasks.runs.store import StoreUnreachableError, open_store, readable_errors

EXPERIMENT = "answers"
RATING = "rating"
PERSON = AssessmentSource(source_type="HUMAN", source_id="visitor")
ASYNC_SWITCH = "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING"
TRACE_ID = re.compile("tr-[0-9a-f]{32}")


class AnswerNotFoundError(ValueError):
    """There is no such logged answer."""


@dataclass(frozen=True)
class Answer:
    """What a model was asked, and what came of it.

    Attributes:
        reference: the registered version, as name/version; `model` is its display name.
        result: the output row; of an answer that was stopped, `{"partial": text}`.
        seconds: from asking to the end.
        rating: 1 for thumbs up, -1 for thumbs down; with the comment set by `rate_answer`.
        id: where MLflow has it; empty before it is logged.
    """

    at: datetime
    task: str
    reference: str
    model: str
    row: Mapping[str, Any]
    parameters: Mapping[str, Any]
    result: Mapping[str, Any]
    seconds: float
    tokens: int | None = None
    stopped: bool = False
    rating: int | None = None
    comment: str = ""
    id: str = ""


def log_answer(answer: Answer, model_id: str = "") -> str:
    """Write an answer, and give the id under which it is found again; `rate_answer` it afterwards.

    Args:
        model_id: of MLflow's logged model, whose page then lists the answer, too.

    Raises StoreUnreachableError, or AnswerTooLargeError.
    """
    kinds: dict[str, str] = {}
    row, result = packed(dict(answer.row), kinds), packed(dict(answer.result), kinds)
    with readable_errors():
        client = open_store()
        # MLflow's queue would drop what fails with no more than a line in its log.
        os.environ.setdefault(ASYNC_SWITCH, "false")
        begun = int(answer.at.timestamp() * 1e9)
        span = mlflow.start_span_no_context(
            answer.task,
            SpanType.TASK,
            inputs=row,
            attributes={
                "at": answer.at.isoformat(),
                "parameters": dict(answer.parameters),
                "seconds": answer.seconds,
                "tokens": answer.tokens,
                "attachments": kinds,
            },  # pyright: ignore[reportArgumentType]  # any JSON is taken
            tags={
                "task": answer.task,
                "reference": answer.reference,
                "model": answer.model,
                "stopped": str(answer.stopped).lower(),
            },
            metadata={"mlflow.modelId": model_id} if model_id else None,
            experiment_id=_experiment(client, create=True),
            start_time_ns=begun,
        )
        span.set_outputs(result)
        span.end(end_time_ns=begun + int(answer.seconds * 1e9))
        mlflow.flush_trace_async_logging()  # somebody may have asked for the queue
        try:
            _trace(client, span.trace_id)
        except AnswerNotFoundError as error:  # writing itself does not raise
            raise StoreUnreachableError("MLflow did not take the answer; the terminal may say more") from error
    return span.trace_id


def rate_answer(answer_id: str, rating: int | None, comment: str = "") -> None:
    """Set or change the rating of a logged answer: 1, -1 or None. Without a rating or a comment, there is none.

    Raises AnswerNotFoundError, StoreUnreachableError.
    """
    if rating not in (1, -1, None):
        raise ValueError(f"rating is {rating!r}; valid: 1, -1 or None")
    with readable_errors():
        before = _rating(_trace(open_store(), answer_id))
        value = {1: True, -1: False, None: "none"}[rating]
        feedback = Feedback(name=RATING, value=value, rationale=storable(comment) or None, source=PERSON)
        if before is not None and before.assessment_id:
            # An update leaves out what is None, and would keep the old comment.
            mlflow.delete_assessment(answer_id, before.assessment_id)
        if rating or comment:
            mlflow.log_assessment(answer_id, feedback)


def recent_answers(task: str | None = None, limit: int = 50) -> list[Answer]:
    """The newest logged answers (of a task); pictures and long texts in them are left as references.

    Raises StoreUnreachableError.
    """
    with readable_errors():
        client = open_store()
        experiment = _experiment(client)
        if experiment is None:
            return []
        only = "tags.task = '" + task.replace("'", "") + "'" if task else None
        found = client.search_traces(
            locations=[experiment], filter_string=only, max_results=limit, order_by=["timestamp_ms DESC"]
        )
    return [_answer(trace) for trace in found if trace.data.spans and _attribute(trace, "at")]


def read_answer(answer_id: str) -> Answer:
    """A logged answer, whole. Raises AnswerNotFoundError, StoreUnreachableError."""
    with readable_errors():
        client = open_store()
        trace = _trace(client, answer_id)
        answer = _answer(trace)
        kinds = _attribute(trace, "attachments") or {}
        contents = {one: content(_artifacts(trace), one, kind) for one, kind in kinds.items()}
    return replace(answer, row=unpacked(answer.row, contents), result=unpacked(answer.result, contents))


def answers_experiment() -> str | None:
    """The id of the experiment that holds the answers; None before the first. Raises StoreUnreachableError."""
    with readable_errors():
        return _experiment(open_store())


def delete_answer(answer_id: str) -> None:
    """Delete a logged answer with its rating. Raises AnswerNotFoundError, StoreUnreachableError."""
    with readable_errors():
        client = open_store()
        trace = _trace(client, answer_id)
        client.delete_traces(trace.info.experiment_id or "", trace_ids=[answer_id])
        if _attribute(trace, "attachments"):  # which MLflow leaves behind
            get_artifact_repository(_artifacts(trace)).delete_artifacts()


def _experiment(client: MlflowClient, create: bool = False) -> str | None:
    """The id of the experiment of answers. Raises StoreUnreachableError if it has been put into MLflow's bin."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None and create:
        try:
            return client.create_experiment(EXPERIMENT)
        except MlflowException:  # another process was faster
            found = client.get_experiment_by_name(EXPERIMENT)
            if found is None:
                raise
    if found is None:
        return None
    if found.lifecycle_stage != "active":
        if not create:
            return None
        raise StoreUnreachableError(
            f"MLflow's experiment {EXPERIMENT!r} was deleted: restore it (mlflow experiments restore "
            f"--experiment-id {found.experiment_id}), or delete it for good (mlflow gc)"
        )
    return found.experiment_id


def _trace(client: MlflowClient, answer_id: str) -> Trace:
    """The trace of a logged answer. Raises AnswerNotFoundError."""
    absent = AnswerNotFoundError(f"MLflow has no answer {answer_id[:60]!r}: it was deleted, or never logged")
    if not TRACE_ID.fullmatch(answer_id):  # others may say where to look for a trace
        raise absent
    try:
        trace = client.get_trace(answer_id, display=False)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND", "BAD_REQUEST"):  # the last: without its spans
            raise absent from error
        raise
    if trace.info.experiment_id != _experiment(client) or not trace.data.spans or not _attribute(trace, "at"):
        raise absent
    return trace


def _rating(trace: Trace) -> Feedback | None:
    """The user's rating among the assessments of a trace."""
    rated = [
        one
        for one in trace.info.assessments
        if isinstance(one, Feedback) and one.name == RATING and one.source == PERSON and one.valid is not False
    ]
    return rated[-1] if rated else None


def _answer(trace: Trace) -> Answer:
    info, span = trace.info, trace.data.spans[0]
    rating = _rating(trace)
    return Answer(
        at=datetime.fromisoformat(_attribute(trace, "at")),
        task=info.tags.get("task", ""),
        reference=info.tags.get("reference", ""),
        model=info.tags.get("model", ""),
        row=_object(span.inputs),
        parameters=_object(_attribute(trace, "parameters")),
        result=_object(span.outputs),
        seconds=float(_attribute(trace, "seconds") or 0),
        tokens=_attribute(trace, "tokens"),
        stopped=info.tags.get("stopped") == "true",
        rating={True: 1, False: -1}.get(rating.value) if rating and isinstance(rating.value, bool) else None,
        comment=(rating.rationale or "") if rating else "",
        id=info.trace_id,
    )


def _attribute(trace: Trace, name: str) -> Any:
    return trace.data.spans[0].get_attribute(name)


def _object(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _artifacts(trace: Trace) -> str:
    return trace.info.tags["mlflow.artifactLocation"].rstrip("/")
