"""Answers to people, logged as MLflow traces with their ratings in the experiment `answers`, and read again."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Feedback, Trace
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from tasks.runs.attachments import content, storable, unpacked
from tasks.runs.store import open_store, readable_errors
from tasks.runs.traces import PERSON, find_experiment, write_trace

EXPERIMENT = "answers"
RATING = "rating"
TRACE_ID = re.compile("tr-[0-9a-f]{32}")


class AnswerNotFoundError(ValueError):
    """There is no such logged answer."""


@dataclass
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
    with readable_errors():
        return write_trace(
            open_store(),
            EXPERIMENT,
            answer.task,
            answer.row,
            answer.result,
            answer.at,
            answer.seconds,
            attributes={"parameters": dict(answer.parameters), "tokens": answer.tokens},
            tags={"reference": answer.reference, "model": answer.model, "stopped": str(answer.stopped).lower()},
            model_id=model_id,
        )


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
        experiment = find_experiment(client, EXPERIMENT)
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
        return find_experiment(open_store(), EXPERIMENT)


def delete_answer(answer_id: str) -> None:
    """Delete a logged answer with its rating. Raises AnswerNotFoundError, StoreUnreachableError."""
    with readable_errors():
        client = open_store()
        trace = _trace(client, answer_id)
        client.delete_traces(trace.info.experiment_id or "", trace_ids=[answer_id])
        if _attribute(trace, "attachments"):  # which MLflow leaves behind
            get_artifact_repository(_artifacts(trace)).delete_artifacts()


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
    if (
        trace.info.experiment_id != find_experiment(client, EXPERIMENT)
        or not trace.data.spans
        or not _attribute(trace, "at")
    ):
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
