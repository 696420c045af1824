"""What all tasks share: parameters, rows are checked, and what is wrong is said in words."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tasks.base import MAX_ROWS, Cancel, Parameter, Task, TaskInputError, check_text, short

COUNT = Parameter("count", int, 3, "how many", 1, 10)
SHARE = Parameter("share", float, 0.5, "how much", 0, 1)
ANY_NUMBER = Parameter("number", float, 0.5, "any")
WORD = Parameter("word", str, "hello", "what to say")
SWITCH = Parameter("switch", bool, False, "on or off")
NOTE = Parameter("note", str, "", "a text with bounds", 2, 5)


class Echo(Task):
    """Gives back what it was asked."""

    name = "echo"
    inputs = {"text": True, "hint": False}
    parameters = (COUNT, SHARE, WORD, SWITCH)

    def load(self) -> None:
        pass

    def answer(
        self,
        rows: list[dict[str, Any]],
        parameters: dict[str, Any],
        cancel: Cancel,  # noqa: ARG002
    ) -> list[dict[str, Any]]:
        return [{"row": row, "parameters": parameters} for row in rows]


@pytest.fixture
def echo(tmp_path: Path) -> Echo:
    return Echo(tmp_path, "echo-1")


@pytest.mark.parametrize(
    ("parameter", "given", "expected"),
    [
        (COUNT, None, 3),
        (COUNT, 1, 1),
        (COUNT, 10, 10),
        (COUNT, 3.0, 3),
        (SHARE, None, 0.5),
        (SHARE, 0, 0.0),
        (SHARE, 1, 1.0),
        (SHARE, 0.25, 0.25),
        (SHARE, np.float64(0.25), 0.25),
        (ANY_NUMBER, -1e300, -1e300),
        (WORD, None, "hello"),
        (WORD, "", ""),
        (NOTE, "ab", "ab"),
        (NOTE, "😀שלום", "😀שלום"),
        (SWITCH, None, False),
        (SWITCH, True, True),
    ],
)
def test_a_valid_value_comes_back_as_the_type_of_the_parameter(parameter: Parameter, given: Any, expected: Any) -> None:
    value = parameter.check(given)
    assert value == expected
    assert type(value) is parameter.kind


HUGE = 10**400


@pytest.mark.parametrize(
    ("parameter", "given", "valid"),
    [
        *(
            (COUNT, bad, "a whole number from 1 to 10")
            for bad in (0, 11, -1, HUGE, -HUGE, 3.5, 1e300, float("nan"), float("inf"),
                        float("-inf"), True, "3", [3], {}, b"3")
        ),
        *(
            (SHARE, bad, "a number from 0 to 1")
            for bad in (-0.001, 1.001, HUGE, float("nan"), float("inf"), False, "0.5", [0.5], 1j)
        ),
        *((ANY_NUMBER, bad, "a number") for bad in (HUGE, float("nan"), float("inf"), "1")),
        *((WORD, bad, "text") for bad in (3, True, ["a"], b"a")),
        *((SWITCH, bad, "true or false") for bad in (1, 0, "true", 0.0)),
    ],
    ids=lambda value: repr(value)[:20],
)  # fmt: skip
def test_an_invalid_value_is_refused_with_the_valid_range(parameter: Parameter, given: Any, valid: str) -> None:
    with pytest.raises(TaskInputError, match=f"^{parameter.name} is .*; valid: {valid}$") as caught:
        parameter.check(given)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("a", "is 'a'"),
        ("abcdef", "is 'abcdef'"),
        ("a\0b", "has a NUL at character 1"),
        ("ab\ud800", "has half of a surrogate pair at character 2"),
        ("é" * 2**20, "has 2097152 bytes"),
    ],
    ids=lambda value: ascii(value[:9]),
)
def test_a_text_that_cannot_be_used_is_refused_with_what_is_valid(given: str, fault: str) -> None:
    with pytest.raises(TaskInputError, match=f"^note {fault}; valid: text of 2 to 5 characters$"):
        NOTE.check(given)
    if fault.startswith("has"):
        with pytest.raises(TaskInputError, match=f"^word {fault}; valid: text$"):
            WORD.check(given)


def test_a_value_is_shown_in_one_short_line() -> None:
    assert short("two\nlines") == r"'two\nlines'"
    assert short(np.zeros((2, 2))) == "array([[0., 0.], [0., 0.]])"
    assert len(short("a" * 1000)) == 60


def test_no_more_of_a_large_value_is_written_out_than_is_shown() -> None:
    class Noted:
        written = 0

        def __repr__(self) -> str:
            Noted.written += 1
            return "x"

    many = [Noted()] * 10_000
    for value in (many, tuple(many), [many] * 10, {"a": many}, {number: Noted() for number in range(10_000)}):
        assert len(short(value)) <= 60
    assert Noted.written < 1000


def test_a_number_that_python_does_not_print_is_refused() -> None:
    with pytest.raises(TaskInputError, match=r"^count is .*; valid: a whole number from 1 to 10$"):
        COUNT.check(10**5000)


@pytest.mark.parametrize(
    ("parameter", "bad", "words"),
    [
        (Parameter("n", int, 3, "", minimum=1), 0, "at least 1"),
        (Parameter("n", int, 3, "", maximum=9), 10, "at most 9"),
    ],
)
def test_a_range_may_be_open_at_one_end(parameter: Parameter, bad: int, words: str) -> None:
    assert parameter.check(5) == 5
    with pytest.raises(TaskInputError, match=words):
        parameter.check(bad)


def test_results_come_one_a_row_in_order_with_model_and_seconds(echo: Echo) -> None:
    results = echo.run([{"text": "a"}, {"text": "b", "hint": "h", "surplus": 1}], {"count": 5.0})
    assert [result["row"] for result in results] == [{"text": "a", "hint": None}, {"text": "b", "hint": "h"}]
    assert results[0]["parameters"] == {"count": 5, "share": 0.5, "word": "hello", "switch": False}
    assert all(result["model"] == "echo-1" and result["seconds"] >= 0 for result in results)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], "0 rows; valid: 1 to"),
        ([{"text": "a"}] * (MAX_ROWS + 1), f"{MAX_ROWS + 1} rows; valid: 1 to {MAX_ROWS}"),
        ([{}], "column 'text' is missing; echo takes text, hint"),
        ([{"text": None}], "column 'text' is missing"),
        ([{"text": "a"}, {"hint": "b"}], "column 'text' is missing"),
        (["a"], "row"),
        ([None], "row"),
        ([["a"]], "row"),
        ({"text": "a"}, "row"),
        ("text", "row"),
        (None, "row"),
        (3, "row"),
    ],
)
def test_rows_that_cannot_be_used_are_refused(echo: Echo, rows: Any, expected: str) -> None:
    with pytest.raises(TaskInputError, match=expected):
        echo.run(rows)


def test_the_most_rows_are_taken(echo: Echo) -> None:
    assert len(echo.run([{"text": "a"}] * MAX_ROWS)) == MAX_ROWS


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"cuont": 3}, "unknown parameter 'cuont'; valid: count, share, word, switch"),
        ({"count": 3, "": 1}, "unknown parameter ''"),
        ({"count": 99}, "count is 99; valid: a whole number from 1 to 10"),
        ([3], "parameters"),
        ("count", "parameters"),
    ],
)
def test_parameters_that_cannot_be_used_are_refused(echo: Echo, parameters: Any, expected: str) -> None:
    with pytest.raises(TaskInputError, match=expected):
        echo.run([{"text": "a"}], parameters)


def test_a_task_without_parameters_says_so(tmp_path: Path) -> None:
    class Plain(Echo):
        name = "plain"
        parameters = ()

    with pytest.raises(TaskInputError, match="unknown parameter 'count'; plain has no parameters"):
        Plain(tmp_path, "plain").run([{"text": "a"}], {"count": 3})


def test_a_task_without_pieces_streams_its_row_alone(echo: Echo) -> None:
    (row,) = echo.stream({"text": "a"}, {"count": 5})
    (expected,) = echo.run([{"text": "a"}], {"count": 5})
    assert row.pop("seconds") >= 0 and expected.pop("seconds") >= 0
    assert row == expected


def test_a_stream_checks_at_the_call(echo: Echo) -> None:
    for row, parameters, words in (({}, None, "'text' is missing"), ({"text": "a"}, {"count": 99}, "count is 99")):
        with pytest.raises(TaskInputError, match=words):
            echo.stream(row, parameters)


def test_a_stream_is_events_and_then_the_row(tmp_path: Path) -> None:
    class Counts(Echo):
        def stream_answer(self, row: Any, parameters: Any, cancel: Any) -> Any:  # noqa: ARG002
            for step in range(parameters["count"]):
                if cancel():
                    return {"counted": step}
                yield {"step": step}
            return {"counted": parameters["count"]}

    counts = Counts(tmp_path, "counts-1")
    *events, row = counts.stream({"text": "a"}, {"count": 3})
    assert events == [{"step": 0}, {"step": 1}, {"step": 2}]
    assert (row["counted"], row["model"]) == (3, "counts-1") and row["seconds"] >= 0
    left = [False, False]
    *events, row = counts.stream({"text": "a"}, {"count": 3}, cancel=lambda: not left or left.pop())
    assert (len(events), row["counted"]) == (2, 2)


def test_a_tasks_own_check_of_a_row_sees_every_row_before_any_answer(tmp_path: Path) -> None:
    class Strict(Echo):
        def check_row(self, row: dict[str, Any]) -> dict[str, Any]:
            return {**row, "text": check_text("text", row["text"])}

        def answer(self, rows: Any, parameters: Any, cancel: Any) -> Any:  # noqa: ARG002
            raise AssertionError("asked before all rows were checked")

    for send in (Strict(tmp_path, "s").run, lambda rows: Strict(tmp_path, "s").stream(rows[1])):
        with pytest.raises(TaskInputError, match=r"^text is only white space; valid: text"):
            send([{"text": "good"}, {"text": " "}])


def test_a_value_in_an_error_is_short_whatever_it_is() -> None:
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    assert short(deep).startswith("[[[") and len(short(deep)) < 60
    assert short(10**5000) == "a very long number"
    assert len(short("x" * 5000)) == 60


def test_memory_is_that_of_the_modules_a_task_holds(echo: Echo) -> None:
    assert echo.memory_bytes() == 0
    echo.network = torch.nn.Linear(3, 2)  # pyright: ignore[reportAttributeAccessIssue]
    assert echo.memory_bytes() == 4 * (3 * 2 + 2)
