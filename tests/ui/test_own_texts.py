"""The tab of own texts: a file is kept and looked at, its columns chosen, and a training started with them."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from experiments.config import UserError
from tests.support.pages import texts
from ui.own_data.keeping import keep_texts, kept_texts
from ui.own_data.texts import PATH

ROWS = [f"<b>film</b> {number},{('good', 'bad')[number % 2]},{number}" for number in range(24)]


def write(path: Path, rows: list[str] = ROWS) -> str:
    path.write_text("\n".join(["Review,Stars,id", *rows]))
    return str(path)


def test_own_texts_are_looked_at_and_trained_on(tool: Path, page: Any, started: list) -> None:
    path = write(tool / "my reviews.csv", [*ROWS, ",good,1", "odd,Good ,2"])
    app = page("own")
    assert not app.error and "A report on your texts" in texts(app)
    app.session_state[PATH] = path
    app.run()
    assert "has 'good' (12), 'Good ' (1), which differ only by case" in app.error[0].value.replace("\\", "")
    app.toggle(key="own-texts-merge").set_value(True).run()
    assert not app.error
    shown = texts(app)
    assert "25 texts of 2 classes" in shown and "Left out: 1 with no text (line 26)." in shown
    assert "on this machine's CPU, as busy as it is now; less" in shown
    assert [row for table in app.dataframe for row in table.value.to_dict("records") if "train" in row] == [
        {"class": "bad", "train": 9, "val": 1, "test": 2},
        {"class": "good", "train": 9, "val": 1, "test": 3},
    ]
    app.text_input(key="own-texts-epochs").set_value("2").run()
    app.button(key="own-texts-train").click().run()
    given = {"data": path, "text": "Review", "label": "Stars", "merge_labels": "true", "epochs": "2"}
    assert started == [("finetune", given)] and "Started: " in texts(app)
    app.text_input(key="own-texts-epochs").set_value("many").run()
    assert "epochs" in app.error[0].value


def test_an_uploaded_file_is_kept_and_shown(tool: Path, page: Any) -> None:
    content = Path(write(tool / "x.csv")).read_bytes()
    app = page("own")
    app.file_uploader(key="own-texts-0").set_value(("my reviews.csv", content, "text/csv")).run()
    assert not app.error and "24 texts of 2 classes" in texts(app)
    assert (tool / "data/own/my-reviews.csv").read_bytes() == content and kept_texts() == ["data/own/my-reviews.csv"]
    with pytest.raises(UserError, match=r"valid: \.csv, \.tsv, \.jsonl"):
        keep_texts(SimpleNamespace(name="x.exe", getvalue=bytes))  # type: ignore[arg-type]


def test_a_path_in_the_home_folder_is_found(tool: Path, page: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tool))
    write(tool / "reviews.csv")
    app = page("own")
    app.session_state[PATH] = "~/reviews.csv"
    app.run()
    assert not app.error and "24 texts of 2 classes" in texts(app)


def test_what_cannot_be_read_is_said(tool: Path, page: Any) -> None:
    app = page("own")
    for path, expected in (
        ("./nowhere.csv", "there is no such file"),
        (write(tool / "one.csv", ROWS[:1]), "one class"),
    ):
        app.session_state[PATH] = path
        app.run()
        assert expected in app.error[0].value.replace("\\", "")
