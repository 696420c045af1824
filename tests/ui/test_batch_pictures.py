"""Batches of pictures: files and zips of them, each a row, answered as a CSV."""

from pathlib import Path
from typing import Any

import pytest

from tasks.csv_files import TableError
from tests.support.own_pictures import files, in_zip, picture
from ui.answers import batch_file
from ui.answers.batch_file import read_pictures


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
