"""Which of two answers the user preferred, without knowing whose they were: traces in the experiment `votes`.

A vote is the trace of the question with both answers, and an assessment by a human, as MLflow keeps evaluation data.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

import mlflow
from mlflow.entities import Feedback

from tasks.runs.reading import all_pages
from tasks.runs.store import open_store, readable_errors
from tasks.runs.traces import PERSON, find_experiment, write_trace

EXPERIMENT, PREFERENCE = "votes", "preference"
PAGE = 500
Preference = Literal["left", "right", "tie", "both bad"]
PREFERENCES: tuple[Preference, ...] = get_args(Preference)


@dataclass(frozen=True)
class Vote:
    """A choice between the answers of two registered versions (name/version), as they stood: left and right."""

    task: str
    left: str
    right: str
    choice: Preference


def log_vote(
    vote: Vote, row: Mapping[str, Any], parameters: Mapping[str, Any], answers: Mapping[str, Any], at: datetime
) -> str:
    """Keep a vote with what was asked, and what was answered `left` and `right`; gives the id of its trace.

    Raises ValueError for a choice that is none, StoreUnreachableError, AnswerTooLargeError.
    """
    if vote.choice not in PREFERENCES:
        raise ValueError(f"choice is {vote.choice!r}; valid: {', '.join(PREFERENCES)}")
    with readable_errors():
        trace_id = write_trace(
            open_store(),
            EXPERIMENT,
            vote.task,
            row,
            answers,
            at,
            seconds=0,
            attributes={"parameters": dict(parameters)},
            tags={"left": vote.left, "right": vote.right},
        )
        mlflow.log_assessment(trace_id, Feedback(name=PREFERENCE, value=vote.choice, source=PERSON))
    return trace_id


def read_votes(task: str) -> list[Vote]:
    """All votes on a task, the newest first, without what was asked and answered. Raises StoreUnreachableError."""
    only = "tags.task = '" + task.replace("'", "") + "'"
    votes: list[Vote] = []
    with readable_errors():
        client = open_store()
        experiment = find_experiment(client, EXPERIMENT)
        if experiment is None:
            return []
        asked: dict[str, Any] = {"filter_string": only, "max_results": PAGE, "include_spans": False}
        traces = all_pages(lambda token: client.search_traces(locations=[experiment], page_token=token, **asked))
    for trace in traces:
        tags, said = trace.info.tags, [one for one in trace.info.assessments if one.name == PREFERENCE]
        choice = said[-1].value if said and isinstance(said[-1], Feedback) else None
        if choice in PREFERENCES:
            votes.append(Vote(task, tags.get("left", ""), tags.get("right", ""), choice))
    return votes
