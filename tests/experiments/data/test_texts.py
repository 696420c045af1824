"""A user's own labeled texts: read from CSV, TSV and JSONL, split, reported, and what is refused or left out."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.config import ConfigError, FinetuneConfig
from experiments.data.texts import PARTS, TextData, load_texts

SIZES = {"good": 40, "bad": 20, "so so": 10}
ROWS = [(f"{label} film number {number}", label) for label, size in SIZES.items() for number in range(size)]


def write(folder: Path, rows: list[tuple[str, ...]], name: str = "reviews.csv", header: str = "text,label") -> str:
    lines = [header, *(",".join(f'"{cell}"' for cell in row) for row in rows)]
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(folder / name)


def load(data: str, **options: Any) -> TextData:
    return load_texts(FinetuneConfig(data=data, **options))


def counts(data: TextData) -> dict[str, list[int]]:
    return {part: data.counts(part).tolist() for part in PARTS}


def test_every_class_is_split_70_10_20(tmp_path: Path) -> None:
    data = load(write(tmp_path, ROWS))
    assert data.classes == ("bad", "good", "so so") and data.warnings == [
        "unbalanced: 40 texts are 'good', 10 are 'so so'"
    ]
    assert counts(data) == {"train": [14, 28, 7], "val": [2, 4, 1], "test": [4, 8, 2]}
    assert sorted(np.concatenate(list(data.parts.values()))) == list(range(len(ROWS)))
    for part in PARTS:
        texts, labels = data.part(part)
        assert all(text.startswith(data.classes[label]) for text, label in zip(texts, labels, strict=True))
    assert data.report["classes"]["good"] == {"train": 28, "val": 4, "test": 8}
    assert data.report["lengths"]["words"] == {"median": 4.0, "p95": 5.0, "max": 5}
    assert json.loads(json.dumps(data.report)) == data.report


def test_three_texts_are_enough_for_one_in_each_part(tmp_path: Path) -> None:
    data = load(write(tmp_path, [*ROWS, *((f"odd {number}", "odd") for number in range(3))]))
    assert [data.counts(part)[data.classes.index("odd")] for part in PARTS] == [1, 1, 1]
    assert "fewer than 10 texts: 'odd' (3); their results are chance" in data.warnings


def test_the_split_depends_on_its_own_seed_and_the_digests_on_the_content(tmp_path: Path) -> None:
    file = write(tmp_path, ROWS)
    one, same, other = load(file), load(file, seed=5), load(file, split_seed=1)
    assert (one.sha256, one.split_sha256) == (same.sha256, same.split_sha256)
    assert one.sha256 == other.sha256 and one.split_sha256 != other.split_sha256
    changed = load(write(tmp_path, [("another film", "good"), *ROWS[1:]]))
    assert changed.sha256 != one.sha256 and changed.split_sha256 == one.split_sha256


def test_a_larger_train_size_keeps_the_texts_of_a_smaller_one(tmp_path: Path) -> None:
    file = write(tmp_path, ROWS)
    whole, some, few = (load(file, train_size=size) for size in (0, 14, 3))
    assert counts(few)["train"] == [1, 1, 1] and counts(some)["train"] == [4, 8, 2]
    assert set(few.parts["train"]) < set(some.parts["train"]) < set(whole.parts["train"])
    assert all(np.array_equal(whole.parts[part], few.parts[part]) for part in ("val", "test"))
    for size in (2, 50):
        with pytest.raises(ConfigError, match=f"train_size is {size}; valid for this data set: 3 to 49"):
            load(file, train_size=size)


def test_equal_texts_are_in_one_part_and_listed(tmp_path: Path) -> None:
    again = [(f"  {text.upper()} ", label) for text, label in ROWS] + [(ROWS[0][0], "bad")]
    data = load(write(tmp_path, ROWS + again))
    part = {place: name for name in PARTS for place in data.parts[name]}
    assert all(part[place] == part[place + len(ROWS)] for place in range(len(ROWS)))
    assert "rows that repeat a text: 71 (lines 72, 73, 74, 75, 76, ...); equal texts are in one part" in data.warnings
    assert "rows whose text has another label elsewhere: 3 (lines 2, 72, 142)" in data.warnings
    assert data.report["equal_texts"] == {"count": 71, "lines": list(range(72, 122))}


def test_the_files_own_split_is_kept(tmp_path: Path) -> None:
    names = ("train", "Training", "dev", " TEST ")
    rows = [(text, label, names[place % 4]) for place, (text, label) in enumerate(ROWS)]
    file = write(tmp_path, [*rows, (ROWS[0][0], "good", "test")], header="text,label,part")
    data = load(file, split="Part")
    assert [len(data.parts[part]) for part in PARTS] == [36, 17, 18] and data.report["columns"]["split"] == "part"
    assert "rows whose text is in several parts, which flatters the result: 2 (lines 2, 72)" in data.warnings


LINES = [json.dumps({"id": place, "Review": text, "stars": len(label)}) for place, (text, label) in enumerate(ROWS)]


def test_json_lines_are_read_and_broken_ones_listed(tmp_path: Path) -> None:
    file = tmp_path / "reviews.jsonl"
    broken = [
        '{"Review": "half',
        "[1]",
        '{"Review": "x", "stars": NaN}',
        '{"Review": null, "stars": 4}',
        '{"stars": 4}',
        '{"Review": "x", "stars": "\\ud800"}',
        '{"Review": "x", "stars": "\\u0000"}',
        f'{{"Review": "x", "stars": "{"5" * 101}"}}',
    ]
    file.write_text("\n".join(["", *LINES[:30], *broken, *LINES[30:]]), encoding="utf-8-sig")
    data = load(str(file), text="review", label="stars")
    assert data.classes == ("3", "4", "5") and len(data.texts) == len(ROWS)
    assert data.report["columns"] == {"text": "Review", "label": "stars"}
    assert data.warnings[0] == (
        "left out: 2 with no JSON object (lines 32, 33), 2 with no text (lines 35, 36), 1 with no label (line 34), 3 "
        "with a label that cannot be printed or has more than 100 characters (lines 37, 38, 39)"
    )


def test_tabs_index_columns_and_other_encodings_are_read(tmp_path: Path) -> None:
    file = tmp_path / "reviews.tsv"
    rows = [f"{place}\t{label}\t{text}" for place, (text, label) in enumerate(ROWS)]
    file.write_text("\n".join(["\tLabel\tText", *rows]), encoding="utf-16")
    assert load(str(file)).texts == [text for text, _ in ROWS]


def test_rows_that_cannot_be_used_are_left_out_and_listed(tmp_path: Path) -> None:
    odd = [("", "good"), ("  ", "bad"), ("fine", ""), ("fine", "NaN"), ("fine", " null "), ("x" * (2**20 + 1), "good")]
    data = load(write(tmp_path, [*odd, ("y" * 10**6, "good"), *ROWS]))
    assert len(data.texts) == len(ROWS) + 1
    assert data.warnings[0] == (
        "left out: 2 with no text (lines 2, 3), 3 with no label (lines 4, 5, 6), 1 with a text that no model can read "
        "(line 7)"
    )


def test_labels_that_differ_by_case_or_blanks_are_merged_on_request(tmp_path: Path) -> None:
    odd = [(f"odd {number}", label) for number, label in enumerate(("Good", "good ", "so  so"))]
    file = write(tmp_path, [*odd, *ROWS])
    with pytest.raises(ConfigError) as error:
        load(file)
    assert str(error.value) == (
        "label: reviews.csv has 'good' (40), 'Good' (1), 'good ' (1), which differ only by case or blanks, and 1 more "
        "such labels; valid: one spelling of each label, or merge_labels=true to take them for one"
    )
    assert load(file, merge_labels=True).classes == ("bad", "good", "so so")


MANY = [(f"text {number}", f"label {number}") for number in range(1001)]


@pytest.mark.parametrize(
    ("rows", "options", "expected"),
    [
        (ROWS, {"text": "review"}, "data: reviews.csv: column 'review' is missing; the file has text, label, needed"),
        (ROWS, {"label": "mood"}, "column 'mood' is missing; the file has text, label"),
        (ROWS, {"split": "part"}, "column 'part' is missing"),
        (ROWS, {"split": "label"}, "split: line 2 of reviews.csv has 'good' in 'label'; valid: train, val, test"),
        ([], {}, "data: reviews.csv: the file has a header but no rows"),
        ([("fine", ""), ("", "good")], {}, r"no row with both a text and a label; left out: 1 with no text \(line 3\)"),
        (ROWS[:9], {}, "label: reviews.csv has one class only, 'good'; valid: at least two"),
        ([*ROWS, ("x", "odd"), ("y", "odd")], {}, r"too few different texts of 'odd' \(2\); valid: at least 3"),
        ([*ROWS, *[("x", "odd")] * 9], {}, r"too few different texts of 'odd' \(1\)"),
        (MANY, {}, "label: reviews.csv has 1,001 different labels in 'label'; valid: at most 1,000 classes"),
        (MANY[:50], {}, r"'label 0' \(1\), .* and 45 more; valid: at least 3"),
        ([*ROWS, ("a", "b", "c")], {}, "data: reviews.csv: line 72 has 3 cells, but the header has 2"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(
    rows: list[tuple[str, ...]], options: dict[str, Any], expected: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=expected) as error:
        load(write(tmp_path, rows), **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([("a", "x", "train"), ("b", "y", "train"), ("c", "x", "test")], "no row of reviews.csv has 'val' in 'part'"),
        (
            [("a", "x", "train"), ("b", "y", "train"), ("c", "x", "val"), ("d", "z", "test")],
            "has the class 'z' in validation or test, and not in training; valid: every class in training",
        ),
    ],
)
def test_a_split_that_lacks_something_is_refused(rows: list[tuple[str, ...]], expected: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=expected):
        load(write(tmp_path, rows, header="text,label,part"), split="part")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("none", None, "data is '.*none', and there is no such file; valid: a CSV, TSV or JSONL file with the columns"),
        ("", None, "which is a folder; valid: a CSV, TSV or JSONL file"),
        ("empty.csv", b"", "empty.csv: the file is empty"),
        ("latin.csv", "text,label\ncafé,good\n".encode("latin-1"), "latin.csv: line 2 is not UTF-8"),
        ("table.jsonl", b"text,label\nfine,good\n", "no line holds a JSON object; valid: one in each line"),
        (
            "wide.jsonl",
            '{"text": "fine", "label": "good"}'.encode("utf-16"),
            "the file is in UTF-16; valid: JSON lines ",
        ),
        ("le.jsonl", '{"text": "fine", "label": "good"}'.encode("utf-16-le"), "the file is in UTF-16; valid"),
        (
            "keys.jsonl",
            b"\n".join(b'{"text": "a", "%d": 1}' % key for key in range(500)),
            "more than 500 different keys",
        ),
        ("other.jsonl", b'{"body": "fine", "label": "good"}\n', "column 'text' is missing; the file has body, label"),
    ],
)
def test_files_that_cannot_be_read_are_named(name: str, content: bytes | None, expected: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=expected) as error:
        load(str(tmp_path / name))
    assert "\n" not in str(error.value)


def test_200_000_rows_are_no_burden(tmp_path: Path) -> None:
    file = write(tmp_path, [(f"film {number % 150_000}", f"class {number % 3}") for number in range(200_000)])
    data = load(file)
    assert len(data.texts) == 200_000 and data.report["equal_texts"]["count"] == 50_000
    assert sum(map(len, data.parts.values())) == 200_000
