"""Files for batches: columns, cells and bounds, pictures and zips; what is wrong with one is said in a line."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tasks import TASKS, task_class
from tasks.base import TaskInputError
from tasks.csv_files import TableError
from tests.support.own_pictures import files, in_zip, picture
from ui.answers import batch_file
from ui.answers.batch_file import read_batch, read_lines, read_pictures, template

TEXT = {"text": True}


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


def test_pictures_and_zips_are_rows_named_by_their_files(tmp_path: Path) -> None:
    archive = in_zip(tmp_path / "x.zip", files(2, ("cat",)) | {"__MACOSX/._1.png": b"x", "../up.png": b"y"})
    lines = read_pictures([("one.jpg", b"z"), ("x.zip", Path(archive).read_bytes())])
    assert [line.given["file"] for line in lines] == ["one.jpg", "cat/0.png", "cat/1.png"]
    assert lines[0].row == {"image": "eg=="}


def test_too_much_and_what_is_no_zip_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TableError, match=r"x.zip cannot be unpacked .*; valid"):
        read_pictures([("x.zip", b"no zip")])
    monkeypatch.setattr(batch_file, "MAX_ROWS", 2)
    with pytest.raises(TableError, match="more than 2 files or 200 MB; valid"):
        read_pictures([(f"{number}.png", b"x") for number in range(3)])


def test_a_network_answers_uploaded_pictures(tool: Path, page: Any) -> None:
    app = page("tasks")
    app.selectbox(key="tasks-task").set_value("image-classification").run()
    app.session_state["tasks-tab"] = "Batch"
    app.run()
    app.file_uploader[0].set_value(
        [(f"{number}.png", picture("cat", number), "image/png") for number in range(3)]
    ).run()
    app.button(key="batch-start-image-classification").click().run()
    app.session_state["batch"].wait(60)
    app.run()
    assert not app.error
    rows = app.session_state["batch"].table()
    assert [row["file"] for row in rows] == ["0.png", "1.png", "2.png"] and all(row["label"] for row in rows)
    assert b"0.png" in app.session_state["batch"].csv()
