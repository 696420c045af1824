"""The history of a visitor: kept, bounded, and taken along without harm."""

import csv
import io
import json

import pytest

from tests.support.answers import asked
from ui.answers.answer import Asked
from ui.answers.history import add, history_csv, history_json
from ui.answers.tables import as_csv, cell, picture, short

PNG = "iVBORw0KGgo" + 1000 * "A" + "A"
HOSTILE = ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", '"=1', "=1\n=2", "','=1",
           "＝1", "＋1", "－1", "＠SUM(A1)", "\ufeff=1", "\u200b=1", "\u2060=1", "\0=1", "\u3000＝1"]  # fmt: skip


def table(content: bytes) -> list[list[str]]:
    assert content.startswith(b"\xef\xbb\xbf")
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def test_the_newest_comes_first_and_the_oldest_go() -> None:
    kept: list[Asked] = []
    assert sum(add(asked(number), kept, max_answers=3) for number in range(5)) == 2
    assert [one.id for one in kept] == ["4", "3", "2"]


def test_large_answers_push_the_oldest_out_but_the_newest_stays() -> None:
    kept: list[Asked] = []
    for number in range(4):
        add(asked(number, result={"image": "x" * 1000}), kept, max_bytes=2_500)
    assert [one.id for one in kept] == ["3", "2"]
    add(asked(9, row={"messages": [{"role": "user", "content": "x" * 9_000}]}), kept, max_bytes=2_500)
    assert [one.id for one in kept] == ["9"]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_cell_is_a_formula(text) -> None:
    one = asked(row={"text": text}, result={"label": text}, comment=text, model=text, parameters={text: text})
    for line in table(history_csv([one])):
        for value in line:
            assert value.lstrip(" \n\ufffd\ufeff\u200b\u2060\u3000")[:1] not in tuple("=+@-＝＋＠－"), value
            assert value[:1] not in ("\t", "\r"), value


def test_no_part_that_a_spreadsheet_may_divide_is_a_formula_and_lists_stay_lists() -> None:
    assert cell("x;=cmd|' /C calc'!A0") == "x;'=cmd|' /C calc'!A0"
    assert cell("a\n-1+2\t@b") == "a\n'-1+2\t'@b"
    assert cell("x;\u200b＝1\ny;\ufeff-1") == "x;\u200b'＝1\ny;\ufeff'-1"
    assert cell("to buy:\n- bread; butter\n- a=b") == "to buy:\n- bread; butter\n- a=b"


def test_line_breaks_of_every_kind_are_line_breaks() -> None:
    assert cell("one\r\ntwo\rthree") == "one\ntwo\nthree"


def test_numbers_stay_numbers() -> None:
    assert cell(-0.5) == -0.5 and cell(-3) == -3 and cell(True) is True and cell(None) == ""


def test_csv_has_a_column_for_each_input_and_output_and_only_the_size_of_pictures() -> None:
    answers = [asked(), asked(1, task="image-generation", row={"prompt": 'a, "b"\nc'}, result={"image": PNG})]
    header, first, second = table(history_csv(answers))
    lines = [dict(zip(header, line, strict=True)) for line in (first, second)]
    assert lines[0]["input text"] == "text 0" and lines[0]["output label"] == "positive"
    assert json.loads(lines[0]["output scores"]) == {"positive": 0.75}
    assert lines[1]["input prompt"] == 'a, "b"\nc' and lines[1]["input text"] == ""
    assert lines[1]["output image"] == "picture, 1 kB"
    assert PNG not in history_csv(answers).decode()


def test_json_is_whole() -> None:
    one = asked(row={"image": PNG, "text": "lone \ud800 <script>"}, rating=-1, comment="no", result={"raw": b"\x01"})
    (again,) = json.loads(history_json([one]))
    assert again["row"] == {"image": PNG, "text": "lone ? <script>"} and again["result"] == {"raw": "AQ=="}
    assert (again["rating"], again["comment"], again["at"]) == (-1, "no", "2026-05-01T12:30:15+00:00")


def test_a_very_long_text_is_cut_in_a_cell() -> None:
    (_, (value,)) = table(as_csv([{"text": "x" * 100_000}]))
    assert len(value) < 32_767 and value.endswith("(100,000 characters)")


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ({"text": "a\n b"}, "a b"),
        ({"question": "who?", "context": "me"}, "who? · me"),
        ({"messages": [{"role": "user", "content": "first"}, {"role": "user", "content": "last"}]}, "last"),
        ({"sequence": [3, 1, 4]}, "3 1 4"),
        ({"prompt": "cat", "image": None}, "cat"),
        ({"image": PNG}, "picture"),
        ({"text": "x" * 100}, "x" * 57 + "..."),
        ({}, ""),
    ],
)
def test_a_row_in_a_line(value, line) -> None:
    assert short(value) == line


def test_pictures_are_told_from_texts() -> None:
    assert picture(PNG) and picture("data:image/png;base64," + PNG) and picture(b"\x89PNG...")
    assert picture("iVBORw0KGgo but not base64") is None and picture("text") is None and picture(5) is None
