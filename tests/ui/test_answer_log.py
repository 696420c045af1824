"""Answers on their way to MLflow: in order, with their ratings; what fails is said, and nothing waits for it."""

import time

import pytest

from tasks.runs import StoreUnreachableError
from tasks.runs.answers import AnswerNotFoundError
from tasks.runs.attachments import AnswerTooLargeError
from tests.support.answers import asked, finished
from ui.answers.answer_log import AnswerLog


def test_answers_are_written_with_their_ratings_in_order(store, monkeypatch) -> None:
    monkeypatch.setattr("ui.answers.answer_log.logged_model", lambda reference: "m-1")
    written, rated = [], []

    def write(answer, model_id):
        written.append((answer.row["text"], model_id))
        return f"tr-{len(written)}"

    log = AnswerLog(write, lambda *given: rated.append(given))
    answers = [asked(number) for number in range(3)]
    answers[1].rating, answers[1].comment = 1, "good"
    for one in answers:
        log.submit(one)
    answers[0].rating = -1
    log.submit(finished(answers[0]))
    log.close()
    assert written == [("text 0", "m-1"), ("text 1", "m-1"), ("text 2", "m-1")]
    assert ("tr-2", 1, "good") in rated and rated[-1] == ("tr-1", -1, "")
    assert [(one.run_id, one.log_state) for one in answers] == [(f"tr-{n}", "logged") for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (StoreUnreachableError("MLflow's store does not answer"), "MLflow's store does not answer"),
        (AnswerTooLargeError("the answer has 70 MB"), "the answer has 70 MB"),
        (ZeroDivisionError("secret"), "ZeroDivisionError; the terminal of the tool says more"),
    ],
)
def test_what_cannot_be_logged_is_said_and_can_be_logged_later(error, said, monkeypatch) -> None:
    monkeypatch.setattr("ui.answers.answer_log.logged_model", lambda reference: "")
    errors = [error]

    def write(answer, model_id):
        if errors:
            raise errors.pop()
        return "tr-9"

    log, one = AnswerLog(write, lambda *given: None), asked(result={"label": "kept"})
    log.submit(one)
    assert finished(one).log_state == "failed" and one.log_error == said and one.run_id is None
    assert one.result == {"label": "kept"}
    log.submit(one)
    assert finished(one).log_state == "logged" and one.run_id == "tr-9" and one.log_error == ""
    log.close()


def test_an_answer_deleted_in_mlflow_is_logged_anew_when_asked_again(monkeypatch) -> None:
    monkeypatch.setattr("ui.answers.answer_log.logged_model", lambda reference: "")

    def rate(*given):
        if given[0] == "tr-old":
            raise AnswerNotFoundError("MLflow has no answer 'tr-old'")

    log, one = AnswerLog(lambda *given: "tr-new", rate), asked(run_id="tr-old", rating=1)
    log.submit(one)
    assert finished(one).log_error == "MLflow has no answer 'tr-old'" and one.run_id is None
    log.submit(one)
    assert finished(one).run_id == "tr-new"
    log.close()


def test_a_full_or_closed_log_says_so(monkeypatch) -> None:
    monkeypatch.setattr("ui.answers.answer_log.MAX_WAITING", 1)
    monkeypatch.setattr("ui.answers.answer_log.logged_model", lambda reference: "")
    log = AnswerLog(lambda *given: time.sleep(0.3) or "tr-1", lambda *given: None)
    answers = [asked(number) for number in range(4)]
    for one in answers:
        log.submit(one)
    assert answers[3].log_state == "failed" and "too many answers wait" in answers[3].log_error
    assert finished(answers[0]).log_state == "logged"
    log.close()
    log.submit(late := asked(9))
    assert late.log_state == "failed"


def test_a_store_that_is_down_takes_neither_the_answer_nor_the_page(store, monkeypatch) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    log, one = AnswerLog(), asked()
    begun = time.monotonic()
    log.submit(one)
    assert time.monotonic() - begun < 0.1
    assert "does not answer" in finished(one).log_error and one.result["label"] == "positive"
    log.close()
