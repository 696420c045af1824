"""What reports are made of: sentences, tables for spreadsheets and terminals, figures, and the page."""

import csv
from pathlib import Path

import numpy as np
import pytest

from experiments.reports.classification import save_confusion_matrix, save_per_class
from experiments.reports.figures import Bars, save_bars, save_costs, styles
from experiments.reports.page import Section, Table, TableCell, failures, number, pairs_table, render
from experiments.reports.statistics import Interval, Pair
from experiments.reports.tables import to_csv, to_text
from experiments.reports.text import format_duration, listed

FORMULA = "$\\unfinished{$"  # matplotlib would refuse it as a formula


def test_the_page_is_self_contained_and_escapes_what_it_shows(tmp_path: Path) -> None:
    (tmp_path / "figure.png").write_bytes(b"png")
    bad = "<script>alert(1)</script>"
    value = number(Interval(0.9, 0.8, 1.0), lambda share: f"<{share:.1f}>")
    table = Table(("a & b", bad), [("x", value), (TableCell(bad, bad), "y")], bad, {0: "best"}, wide=True)
    section = Section(bad, [bad], bad, [table], [(f'"{bad}', tmp_path / "figure.png")])
    html = render(bad, [section, *failures("Failed", {bad: bad})], {bad: bad}, [bad])
    assert "<script" not in html and html.count("&lt;script&gt;") == 17 and 'alt="&#34;&lt;script' in html
    assert "http" not in html and 'src="data:image/png;base64,cG5n"' in html and "prefers-color-scheme: dark" in html
    assert "&lt;0.9&gt;<small>&lt;0.8&gt; – &lt;1.0&gt;</small>" in html and '<tr class="best">' in html
    assert not failures("Failed", {})


def test_paired_tests_are_shown_smallest_p_first_and_bold_where_they_differ() -> None:
    pairs = [
        Pair("a", "b", 3, 4, 0.9, False, adjusted_p=0.9, seed=1),
        Pair("a", "c", 9, 0, 0.004, True, adjusted_p=0.008),
    ]
    table = pairs_table(pairs, "images", str)
    assert table.rows == [
        ["a – c", "9", "0", "0.004", "0.008", "1 / 0 / 0"],
        ["a – b", "3", "4", "0.9", "0.9", "0 / 0 / 1"],
    ]
    assert table.marks == {0: "strong"} and len(table.head) == 6 and "seeds" not in table.note
    with_difference = pairs_table([Pair("a", "b", 3, 4, 0.9, False, "flips", 0.9, Interval(0.1))], "rows", str)
    assert with_difference.rows == [["a – b", "0.1", "3", "4", "0.9", "0.9", "flips"]]


def test_csv_has_six_digits_and_nothing_that_a_spreadsheet_runs() -> None:
    row = {"text": "=1+1", "number": 1 / 3, "none": None, "nan": float("nan"), "count": 1234567, "flag": True}
    [line] = csv.DictReader(to_csv([row]).splitlines())
    assert line == {"text": "'=1+1", "number": "0.333333", "none": "", "nan": "", "count": "1234567", "flag": "true"}
    assert to_csv([], ["a", "b"]) == "a,b\n"
    assert to_csv([{"@x": -1.5}]) == "'@x\n-1.5\n"


def test_a_table_for_a_terminal_is_not_cut() -> None:
    rows = [{"": f"model {'x' * 100}", **{f"metric {i}": "0.5 [0.4, 0.6]" for i in range(20)}}] * 100
    lines = to_text(rows).splitlines()
    assert len(lines) == 101 and all(line.count("0.5 [0.4, 0.6]") == 20 and "..." not in line for line in lines[1:])
    assert len({len(line) for line in lines}) == 1


def test_words() -> None:
    assert [format_duration(s) for s in (7, 600, 8000, 400_000)] == ["7 s", "10 min", "2.2 hours", "4.6 days"]
    assert [listed(["a", "b", "c"]), listed(["a", "b"]), listed(["a"])] == ["a, b and c", "a and b", "a"]


@pytest.mark.figures
def test_names_with_dollar_signs_are_no_formulas(tmp_path: Path) -> None:
    values = [Interval(0.5, 0.4, 0.6), Interval(0.9)]
    names, look = [FORMULA, "b"], styles([FORMULA, "b"])
    save_bars(tmp_path / "bars.png", names, [Bars("accuracy", values, lambda x: f"${x}")], look, FORMULA)
    costs = {"seconds": dict(zip(names, values, strict=True))}
    save_costs(tmp_path / "costs.png", dict(zip(names, values, strict=True)), costs, look, "accuracy", FORMULA)
    save_confusion_matrix(tmp_path / "matrix.png", np.array([[3, 1], [0, 2]]), names, FORMULA)
    report = {name: {"precision": 0.5, "recall": 0.5, "f1-score": 0.5} for name in names}
    save_per_class(tmp_path / "classes.png", report, names, FORMULA)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) == 4
