"""Batches: files that people have, rows that fail, stopping, other visitors in between, results that cannot act."""

import csv
import gc
import io
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tasks import TASKS, task_class
from tasks.base import Cancel, ModelFolderError, Task, TaskInputError
from tasks.csv_files import TableError
from tasks.runtime.worker import Worker
from ui.answers.batch import Batch
from ui.answers.batch_file import Line, read_batch, read_lines, template
from ui.answers.batch_panel import progress
from ui.services import Services

TEXT = {"text": True}
BOTH = {"question": True, "context": True}


def lines_of(content: str | bytes, task: str = "sentiment-analysis", inputs: Mapping[str, bool] = TEXT, **chosen: str):
    table = read_batch(content.encode() if isinstance(content, str) else content, task, inputs)
    return read_lines(table, task, inputs, chosen)


def rows(content: str | bytes, task: str = "sentiment-analysis", inputs: Mapping[str, bool] = TEXT, **chosen: str):
    return [line.row for line in lines_of(content, task, inputs, **chosen)]


def test_other_columns_are_kept_for_the_results() -> None:
    (line,) = lines_of(",text,label\n7,fine,positive\n")
    assert line.given == {"index": "7", "text": "fine", "label": "positive"} and line.row == {"text": "fine"}


def test_a_column_may_be_chosen() -> None:
    assert rows("id,Review\n1,good\n", text="Review") == [{"text": "good"}]
    with pytest.raises(TableError, match="column 'stars' is missing; the file has id, Review, needed: stars for text"):
        rows("id,Review\n1,good\n", text="stars")


def test_an_empty_cell_is_an_empty_text_and_not_a_missing_column(tmp_path) -> None:
    [row] = rows("id,text\n1,\n")
    with pytest.raises(TaskInputError, match=r"^text is empty; valid: text"):
        task_class("sentiment-analysis")(tmp_path, "none").check_rows([row])
    assert rows("prompt,image\na cat,\n", "image-generation", {"prompt": True, "image": False}) == [
        {"prompt": "a cat", "image": None}
    ]


def test_the_largest_file_is_read_quickly() -> None:
    begun = time.perf_counter()
    assert len(rows(b"text\n" + b'"' + b"word " * 3_900 + b'"\n' + b"word\n" * 999)) == 1_000
    assert len(rows(b"text\n" + b"w" * (19 * 2**20))) == 1
    assert time.perf_counter() - begun < 5


def test_the_bounds_are_those_that_the_page_names() -> None:
    for content, said in ((b"a\n" * 1001, "1,000 rows"), (b"a" * (21 * 2**20), "21 MB; valid: at most 20 MB")):
        with pytest.raises(TableError, match=said):
            rows(b"text\n" + content)


def test_sequences_are_numbers_and_others_get_a_fault() -> None:
    content = b'sequence\n3 1 4\n"3,1,4"\n"[3, 1, 4]"\n3 x 4\n'
    lines = lines_of(content, "sequence-reversal", {"sequence": True})
    assert [line.row["sequence"] for line in lines[:3]] == [[3, 1, 4]] * 3
    assert "'x' is no whole number from 0; valid: numbers with blanks between" in lines[3].fault


def test_chat_takes_a_message_and_a_system_message_or_json() -> None:
    def chat(content: str) -> list:
        return [row["messages"] for row in rows(content, "chatbot", {"messages": True})]

    assert chat("message,system\nhi,\nhi,be brief\n") == [
        [{"role": "user", "content": "hi"}],
        [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
    ]
    assert chat('messages\n"[{""role"": ""user"", ""content"": ""hi""}]"\n') == ['[{"role": "user", "content": "hi"}]']
    with pytest.raises(TableError, match="column 'message' is missing; the file has text, needed: message"):
        chat("text\nhi\n")


@pytest.mark.parametrize("task", TASKS)
def test_the_template_can_be_filled_in_and_uploaded(task) -> None:
    inputs = task_class(task).inputs
    content = template(task, inputs)
    if task == "image-classification":
        content += b"aGVsbG8=\r\n"
    lines = lines_of(content, task, inputs)
    assert set(lines[-1].row) == set(inputs) and not lines[-1].fault


class Upper(Task):
    """Writes a text in capitals; some words do otherwise."""

    name = "upper"
    inputs = {"text": True}
    answered: list[str] = []
    hold: threading.Event | None = None

    def load(self) -> None:
        pass

    def answer(
        self,
        rows: list[dict[str, Any]],
        parameters: dict[str, Any],
        cancel: Cancel,  # noqa: ARG002
    ) -> list[dict[str, Any]]:
        return [{"label": row["text"], **parameters} for row in rows]

    def stream_answer(self, row, parameters, cancel) -> Iterator:
        text = row["text"]
        if text == "bad" or parameters:
            raise TaskInputError("text is 'bad'; valid: anything else")
        if text == "crash":
            raise ZeroDivisionError("internal")
        if text == "gone":
            raise ModelFolderError("the model's files are gone")
        while self.hold is not None and not self.hold.is_set() and not cancel():
            yield {"piece": ""}
            time.sleep(0.005)
        self.answered.append(text)
        return {"label": text.upper(), "scores": [1, 2]}


@pytest.fixture
def upper(tmp_path) -> Iterator[type[Upper]]:
    Upper.answered, Upper.hold = [], None
    yield Upper
    if Upper.hold is not None:
        Upper.hold.set()


@pytest.fixture
def worker(upper, tmp_path) -> Iterator[Worker]:
    with Worker(lambda _key: Upper(tmp_path, "upper"), 10**9) as worker:
        yield worker


def lines(*texts: str, **more: str) -> list[Line]:
    return [Line({"text": text, **more}, {"text": text}) for text in texts]


def started(worker: Worker, *texts: str, **more: str) -> Batch:
    return Batch(worker.submit, "upper", "upper/1", lines(*texts, **more), {}, "file")


def until(condition: Callable[[], object], timeout: float = 10.0) -> None:
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not come in time"
        time.sleep(0.005)


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
        [*lines("a", "bad", "crash"), Line({"text": "x"}, {}, "sequence is wrong"), *lines("b")],
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
    monkeypatch.setattr("ui.services.expected_bytes", lambda _reference: None)
    served = Services(10**9)
    try:
        faulty = [*lines("e", "f"), Line({"text": "x"}, {}, "sequence is wrong"), *lines("g", "bad", "h")]
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
    del batch
    gc.collect()
    until(lambda: worker.statistics().running is None)
    time.sleep(0.05)
    assert worker.statistics().queued == 0 and len(upper.answered) <= 1  # the one that was being answered


def test_results_of_many_pictures_are_bounded(worker, monkeypatch) -> None:
    monkeypatch.setattr("ui.answers.batch_work.MAX_RESULT_BYTES", 200)
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


# The panel, on a page of its own.


def batch_page(task: str) -> None:
    from types import SimpleNamespace

    import streamlit as st

    from ui.answers.batch_panel import draw_batch

    if st.toggle("Another page"):
        st.write("elsewhere")
    else:
        draw_batch(task, SimpleNamespace(key=f"{task}/1"), [], {})  # type: ignore[arg-type]


def texts(app: AppTest) -> str:
    kinds = (app.markdown, app.caption, app.info, app.warning, app.error)
    return "\n".join(element.value for kind in kinds for element in kind)


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


@pytest.fixture
def served(worker, monkeypatch) -> Worker:
    monkeypatch.setattr("ui.answers.batch_panel.services", lambda: worker)
    return worker


def uploaded(content: bytes, name: str = "reviews.csv", task: str = "sentiment-analysis") -> AppTest:
    app = AppTest.from_function(batch_page, args=(task,), default_timeout=60).run()
    assert not app.exception
    return app.get("file_uploader")[0].set_value((name, content, "text/csv")).run()


@pytest.mark.parametrize("task", TASKS)
def test_every_task_says_what_it_takes(task) -> None:
    app = AppTest.from_function(batch_page, args=(task,), default_timeout=60).run()
    if task == "image-classification":
        assert "PNG, JPEG and zips of them" in texts(app)
        app.segmented_control[0].set_value("CSV file").run()
    assert not app.exception and "Upload a CSV with the column" in texts(app)
    assert [one.label for one in app.get("download_button")] == ["Template"]


def test_a_bad_file_is_said_beside_the_field(served) -> None:
    app = uploaded(b"text,text\n<script>,a\n", "<b>.csv")
    assert "two columns are called 'text'" in app.error[0].value.replace("\\", "") and "\\<b\\>" in app.error[0].value
    assert not app.dataframe and not app.exception


def test_a_column_of_another_name_is_chosen(served) -> None:
    app = uploaded(b"sep=;\n;id;review *x*\n0;7;not so bad\n1;8;fine\n")
    assert app.selectbox[0].label == "Column for text" and app.selectbox[0].value == "review *x*"
    assert app.selectbox[0].options == ["id", "review *x*"]
    app.selectbox[0].set_value("id").run()
    press(app, "Answer 2 rows")
    app.session_state["batch"].wait(10)
    assert [row["label"] for row in app.session_state["batch"].table()] == ["7", "8"]


def test_upload_preview_answer_download(served) -> None:
    app = uploaded(b"id;text\n1;=1+1\n2;bad\n3;<script>\n")
    assert app.dataframe[0].value["text"].tolist() == ["'=1+1", "bad", "<script>"]
    press(app, "Answer 3 rows")
    app.session_state["batch"].wait(10)
    app.run()
    assert not app.exception and [one.label for one in app.get("download_button")] == ["Download CSV", "Download JSON"]
    assert app.dataframe[0].value["label"].tolist() == ["'=1+1", None, "<SCRIPT>"]
    assert "row 2: text is 'bad'; valid: anything else" in texts(app).replace("\\", "")
    press(app, "New batch")
    assert app.get("file_uploader")


def test_a_batch_goes_on_while_another_page_is_looked_at_and_stops(served, upper) -> None:
    upper.hold = threading.Event()
    app = uploaded(b"text\n" + b"word\n" * 50)
    press(app, "Answer 50 rows")
    app.toggle[0].set_value(True).run()
    assert "elsewhere" in texts(app)
    upper.hold.set()
    until(lambda: app.session_state["batch"].done > 3)
    app.toggle[0].set_value(False).run()
    assert not app.exception
    if app.session_state["batch"].running:
        press(app, "Stop")
    app.session_state["batch"].wait(10)
    app.run()
    assert app.session_state["batch"].done > 3 and app.dataframe


def test_while_a_batch_runs_another_task_waits_for_it(served, upper) -> None:
    upper.hold = threading.Event()
    app = uploaded(b"text\nword\n")
    press(app, "Answer 1 row")
    app.session_state["batch"].task = "chatbot"
    app.run()
    assert "A batch for chatbot is being answered" in texts(app) and not app.get("file_uploader")
    upper.hold.set()
    app.session_state["batch"].wait(10)
    app.run()
    assert app.get("file_uploader")


def test_two_visitors_have_batches_of_their_own(served) -> None:
    mine, yours = uploaded(b"text\nmine\n"), uploaded(b"text\nyours\nand more\n")
    press(mine, "Answer 1 row")
    press(yours, "Answer 2 rows")
    for app, first in ((mine, "MINE"), (yours, "YOURS")):
        app.session_state["batch"].wait(10)
        assert app.session_state["batch"].table()[0]["label"] == first
