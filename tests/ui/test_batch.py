"""Batches: rows that fail, stopping, other visitors in between, results that cannot act."""

import csv
import io
import json
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from tasks.base import Cancel, ModelFolderError, Task, TaskInputError
from tasks.runtime.loaded import Expected
from tasks.runtime.worker import Worker
from tests.support.batches import Upper, lines
from tests.support.words import until
from ui.answers.batch import Batch
from ui.answers.batch_file import BatchLine
from ui.answers.batch_panel import _stop, progress
from ui.services import Services


def started(worker: Worker, *texts: str, **more: str) -> Batch:
    return Batch(worker.submit, "upper", "upper/1", lines(*texts, **more), {}, "file")


def test_a_thousand_rows(worker) -> None:
    batch = started(worker, *(str(number) for number in range(1000)))
    batch.wait(60)
    assert (batch.state, batch.done, batch.failed) == ("done", 1000, 0)
    assert [row["label"] for row in batch.table()] == [str(number) for number in range(1000)]
    assert len(list(csv.reader(io.StringIO(batch.csv().decode("utf-8-sig"))))) == 1001
    assert progress(batch).startswith("1,000 of 1,000 rows · done · ")


def test_a_row_that_fails_says_so_and_the_rest_goes_on(worker) -> None:
    batch = Batch(
        worker.submit,
        "upper",
        "upper/1",
        [*lines("a", "bad", "crash"), BatchLine({"text": "x"}, {}, "sequence is wrong"), *lines("b")],
        {},
        "file",
    )
    batch.wait(10)
    assert (batch.state, batch.failed) == ("done", 3)
    assert [row["error"] for row in batch.table()] == [
        "",
        "text is 'bad'; valid: anything else",
        "failed: ZeroDivisionError",
        "sequence is wrong",
        "",
    ]
    assert [row["label"] for row in batch.table()] == ["A", None, None, None, "B"]
    assert list(batch.table()[0])[-1] == "error"


def test_rows_of_a_task_without_pieces_are_answered_together(upper, tmp_path, monkeypatch) -> None:
    sizes: list[int] = []

    def answer(rows: list[dict[str, Any]], parameters: dict[str, Any], cancel: Cancel) -> list[dict[str, Any]]:
        sizes.append(len(rows))
        if any(row["text"] == "bad" for row in rows):
            raise TaskInputError("text is 'bad'; valid: anything else")
        return [{"label": row["text"].upper()} for row in rows]

    task = Upper(tmp_path, "upper")
    monkeypatch.setattr(task, "answer", answer)
    monkeypatch.setattr(task, "in_pieces", lambda _parameters: False)
    monkeypatch.setattr(task, "stream_answer", lambda *asked: Task.stream_answer(task, *asked))
    monkeypatch.setattr("ui.services.load", lambda _reference: task)
    monkeypatch.setattr("ui.services.expected", lambda _reference: Expected())
    served = Services(10**9)
    try:
        faulty = [*lines("e", "f"), BatchLine({"text": "x"}, {}, "sequence is wrong"), *lines("g", "bad", "h")]
        batch = Batch(served.submit, "upper", "upper/1", [*lines("a", "b", "c", "d"), *faulty], {}, "file", together=4)
        batch.wait(10)
    finally:
        served.close()
    assert [row["label"] for row in batch.table()] == ["A", "B", "C", "D", "E", "F", None, "G", None, "H"]
    assert [row["error"] for row in batch.table()][6:] == [
        "sequence is wrong",
        "",
        "text is 'bad'; valid: anything else",
        "",
    ]
    assert sizes == [4, 2, 3, 1, 1, 1] and (batch.state, batch.failed) == ("done", 2)


def test_what_no_row_can_escape_ends_the_batch_and_keeps_what_is_done(worker) -> None:
    batch = started(worker, "a", "gone", "b")
    batch.wait(10)
    assert (batch.state, batch.reason, batch.done) == ("failed", "the model's files are gone", 1)


@pytest.mark.parametrize("together", [1, 16])
def test_of_several_models_one_that_is_gone_is_tried_once(worker, together: int) -> None:
    tried = []

    def submit(reference: str, row: Any, parameters: Mapping[str, Any]) -> Any:
        if reference == "gone/1":
            tried.append(row)
            raise ModelFolderError("the model's files are gone")
        return worker.submit(reference, row, parameters)

    batch = Batch(submit, "sentiment-analysis", ("gone/1", "upper/1"), lines(*"abc"), {}, "reviews", together)
    batch.wait(10)
    assert (batch.state, batch.done, batch.failed, len(tried)) == ("done", 6, 3, 1)
    assert batch.errors()[2] == (3, "gone/1: the model's files are gone")
    assert [row["upper/1"] for row in batch.table()] == ["A", "B", "C"]


def test_stop_keeps_what_is_done(worker, upper) -> None:
    batch = started(worker, "a")
    batch.wait(10)
    upper.hold = threading.Event()
    batch = started(worker, "b", "c")
    until(lambda: worker.statistics().running)
    batch.stop()
    batch.wait(10)
    assert (batch.state, batch.done, batch.reason) == ("stopped", 0, "")
    upper.hold = None
    assert worker.submit("upper/1", {"text": "next"}).result(10)["label"] == "NEXT"


def test_others_come_in_between(worker, upper) -> None:
    upper.hold = threading.Event()
    batch = started(worker, *(f"batch {number}" for number in range(20)))
    until(lambda: worker.statistics().running)
    question = worker.submit("upper/1", {"text": "mine"})
    upper.hold.set()
    assert question.result(10)["label"] == "MINE"
    batch.wait(10)
    assert upper.answered.index("mine") == 1 and batch.done == 20


def test_a_full_queue_is_waited_for(upper, tmp_path) -> None:
    upper.hold = threading.Event()
    with Worker(lambda _key: Upper(tmp_path, "upper"), 10**9, max_queue=1) as worker:
        running = worker.submit("upper/1", {"text": "first"})
        until(lambda: running.state == "running")
        waiting = worker.submit("upper/1", {"text": "second"})
        batch = started(worker, "third")
        time.sleep(0.05)
        assert batch.running and batch.done == 0 and progress(batch) == "0 of 1 rows · waiting for the model"
        upper.hold.set()
        batch.wait(10)
        assert waiting.result(1)["label"] == "SECOND" and batch.table()[0]["label"] == "THIRD"


def test_a_batch_whose_visitor_has_left_ends(worker, upper) -> None:
    upper.hold = threading.Event()
    batch = started(worker, *("text" for _ in range(100)))
    until(lambda: worker.statistics().running)
    _stop([batch])  # as Streamlit does at the end of a session
    until(lambda: worker.statistics().running is None)
    time.sleep(0.05)
    assert worker.statistics().queued == 0 and len(upper.answered) <= 1  # the one that was being answered


def test_results_of_many_pictures_are_bounded(worker, monkeypatch) -> None:
    monkeypatch.setattr("ui.answers.batch.MAX_RESULT_BYTES", 200)
    batch = started(worker, *("x" * 50 for _ in range(20)))
    batch.wait(10)
    assert batch.state == "failed" and 0 < batch.done < 20 and "the most that are kept" in batch.reason


def test_results_cannot_act_and_hide_nothing(worker) -> None:
    batch = started(worker, "=1+1", "+cmd", **{"label": "-2", "=head": "@x", "error": "mine"})
    batch.wait(10)
    header, *table = csv.reader(io.StringIO(batch.csv().decode("utf-8-sig"), newline=""))
    first = dict(zip(header, table[0], strict=True))
    assert first["text"] == "'=1+1" and first["label"] == "'-2" and first["'=head"] == "'@x"
    assert first["model label"] == "'=1+1" and first["error"] == "mine" and first["model error"] == ""
    whole = json.loads(batch.json())
    assert whole["rows"][0]["input"]["text"] == "=1+1" and whole["rows"][0]["result"]["scores"] == [1, 2]
