"""Answers in MLflow: what was asked is read again as it was, ratings change, failures are said."""

import base64
from datetime import UTC, datetime

import mlflow
import pytest
from mlflow import MlflowClient

from tasks.runs import StoreUnreachableError, attachments
from tasks.runs.answers import (
    Answer,
    AnswerNotFoundError,
    delete_answer,
    log_answer,
    rate_answer,
    read_answer,
    recent_answers,
)
from tasks.runs.attachments import AnswerTooLargeError

TRACE = "tr-" + 32 * "0"
AT = datetime(2026, 5, 1, 12, 30, 15, 250_000, tzinfo=UTC)
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8).decode()


def answer(**changes) -> Answer:
    given = {
        "at": AT,
        "task": "sentiment-analysis",
        "reference": "sentiment-analysis/2",
        "model": "tiny <b>",
        "row": {"text": "a fine day, =1+1 <script>alert(1)</script>"},
        "parameters": {"top_k": 3, "seed": None},
        "result": {"label": "positive", "score": 0.75, "scores": {"positive": 0.75, "negative": 0.25}},
        "seconds": 0.5,
        "tokens": 7,
    }
    return Answer(**{**given, **changes})


def test_an_answer_is_read_as_it_was_logged(store) -> None:
    answer_id = log_answer(answer())
    assert read_answer(answer_id) == answer(id=answer_id)
    rate_answer(answer_id, 1, "très bien")
    assert read_answer(answer_id) == answer(rating=1, comment="très bien", id=answer_id)


def test_mlflow_shows_what_went_in_and_out_and_how_long_it_took(store) -> None:
    trace = mlflow.get_trace(log_answer(answer(stopped=True, result={"partial": "Once"}), model_id="m-123"))
    assert trace.info.execution_duration == 500
    assert "a fine day" in trace.info.request_preview and "Once" in trace.info.response_preview
    assert trace.info.tags["stopped"] == "true" and trace.info.tags["reference"] == "sentiment-analysis/2"
    assert trace.info.trace_metadata["mlflow.modelId"] == "m-123"
    assert MlflowClient().get_experiment(trace.info.experiment_id).name == "answers"


@pytest.mark.parametrize(
    ("row", "attachments"),
    [
        ({"image": PNG}, 1),
        ({"image": f"data:image/png;base64,{PNG}"}, 1),
        ({"text": "word " * 30_000}, 1),
        ({"text": "data:text/html;base64,aGVsbG8="}, 1),
        ({"text": "iVBORw0KGgo is how a picture begins"}, 0),
        ({"text": "mlflow-attachment://../../secret?content_type=image%2Fpng&trace_id=x&size=1"}, 0),
        ({"messages": [{"role": "user", "content": "data:image/png;base64," + PNG}]}, 1),
        ({"sequence": [3, 1, 4]}, 0),
    ],
    ids=["picture", "data URL", "long text", "other data", "no picture", "forged reference", "nested", "numbers"],
)
def test_pictures_and_long_texts_lie_beside_the_trace(store, row, attachments) -> None:
    answer_id = log_answer(answer(row=row, result=row))
    trace = mlflow.get_trace(answer_id)
    assert len(trace.data.request) < 2_000
    assert (trace.data.request.count("mlflow-attachment://") if attachments else 0) == attachments
    again = read_answer(answer_id)
    assert again.row == row and again.result == row


def test_bytes_become_base64(store) -> None:
    assert read_answer(log_answer(answer(row={"image": base64.b64decode(PNG)}))).row == {"image": PNG}


def test_what_no_database_holds_is_marked(store) -> None:
    answer_id = log_answer(answer(row={"text": "nul \0 and \ud800"}))
    rate_answer(answer_id, -1, "half \udfff")
    again = read_answer(answer_id)
    assert again.row == {"text": "nul \N{REPLACEMENT CHARACTER} and ?"} and again.comment == "half ?"


def test_a_rating_is_set_changed_and_taken_back(store) -> None:
    answer_id = log_answer(answer())
    for rating, comment in ((1, "good"), (-1, ""), (None, "only words"), (1, ""), (None, "")):
        rate_answer(answer_id, rating, comment)
        again = read_answer(answer_id)
        assert (again.rating, again.comment) == (rating, comment)
        assert len(mlflow.get_trace(answer_id).info.assessments) == bool(rating or comment)
    with pytest.raises(ValueError, match="rating is 5; valid: 1, -1 or None"):
        rate_answer(answer_id, 5)


def test_recent_answers_are_the_tasks_newest_first(store) -> None:
    assert recent_answers() == []
    for second in range(4):
        newest = log_answer(answer(at=AT.replace(second=second), row={"text": str(second)}))
    rate_answer(newest, -1)
    log_answer(answer(task="chatbot", at=AT.replace(second=9)))
    assert [one.row["text"] for one in recent_answers("sentiment-analysis", limit=3)] == ["3", "2", "1"]
    assert recent_answers("sentiment-analysis")[0].rating == -1
    assert recent_answers()[0].task == "chatbot"
    assert recent_answers("it's") == []


def test_a_deleted_answer_is_gone(store) -> None:
    answer_id = log_answer(answer(row={"image": PNG}))
    assert list(store.glob("mlruns/**/attachments/*"))
    delete_answer(answer_id)
    assert recent_answers() == []
    assert not list(store.glob("mlruns/**/attachments/*"))
    for use in (read_answer, delete_answer, lambda one: rate_answer(one, 1)):
        with pytest.raises(AnswerNotFoundError, match=f"MLflow has no answer '{answer_id}'"):
            use(answer_id)


@pytest.mark.parametrize("name", [TRACE, "tr-0", "", "' OR 1=1", "trace:/x/y", "\0"])
def test_an_id_that_there_is_not_is_said(store, name) -> None:
    with pytest.raises(AnswerNotFoundError):
        read_answer(name)


def test_a_trace_of_somebody_else_is_no_answer(store) -> None:
    log_answer(answer())
    span = mlflow.start_span_no_context("other", inputs={"secret": 1}, experiment_id="0")
    span.end()
    mlflow.flush_trace_async_logging()
    with pytest.raises(AnswerNotFoundError):
        read_answer(span.trace_id)


def test_too_large_an_answer_is_refused(store, monkeypatch) -> None:
    monkeypatch.setattr(attachments, "MAX_BYTES", 1000)
    with pytest.raises(AnswerTooLargeError, match="at most 0 MB are logged"):
        log_answer(answer(row={"text": "x" * 2000}))
    assert recent_answers() == []


def test_an_experiment_in_the_bin_is_said(store) -> None:
    log_answer(answer())
    client = MlflowClient()
    client.delete_experiment(client.get_experiment_by_name("answers").experiment_id)
    assert recent_answers() == []
    with pytest.raises(StoreUnreachableError, match="'answers' was deleted: restore it"):
        log_answer(answer())


def test_an_unreachable_store_is_said(store, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    for use in (
        lambda: log_answer(answer()),
        recent_answers,
        lambda: read_answer(TRACE),
        lambda: rate_answer(TRACE, 1),
    ):
        with pytest.raises(StoreUnreachableError, match="does not answer"):
            use()


def test_a_write_that_fails_after_the_store_was_there_is_raised(store, monkeypatch) -> None:
    from mlflow.tracing.client import TracingClient

    def broken(*_args, **_kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(TracingClient, "start_trace", broken)
    monkeypatch.setattr(TracingClient, "log_spans", broken)
    with pytest.raises(StoreUnreachableError, match="MLflow did not take the answer"):
        log_answer(answer())
