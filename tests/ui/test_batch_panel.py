"""Batches on the page: a file is uploaded, answered, taken along; other pages and visitors meanwhile."""

import threading

import pytest
from streamlit.testing.v1 import AppTest

from tasks import TASKS
from tasks.runtime.worker import Worker
from tests.support.pages import press, texts
from tests.support.words import until


def batch_page(task: str) -> None:
    from types import SimpleNamespace

    import streamlit as st

    from ui.answers.batch_panel import draw_batch

    if st.toggle("Another page"):
        st.write("elsewhere")
    else:
        draw_batch(task, SimpleNamespace(key=f"{task}/1"), [], {})  # type: ignore[arg-type]


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
    assert "row 2: text is 'bad'; valid: anything else" in texts(app)
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
