"""What all tasks share: parameters and rows are checked, with readable errors."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tasks.base import MAX_ROWS, Task, TaskInputError, check_text
from tasks.parameters import Parameters, option
from tests.support.weightless import Weightless


class EchoParameters(Parameters):
    count: int = option(3, "how many", ge=1, le=10)
    switch: bool = option(False, "on or off")


class Echo(Weightless):
    """Gives back what it was asked."""

    name = "echo"
    inputs = {"text": True, "hint": False}
    parameters = EchoParameters

    def answer(self, rows: Any, parameters: Any, cancel: Any) -> Any:  # noqa: ARG002
        return [{"row": row, "parameters": parameters} for row in rows]


@pytest.fixture
def echo(tmp_path: Path) -> Echo:
    return Echo(tmp_path, "echo-1")


def test_results_come_one_a_row_in_order_with_model_and_seconds(echo: Echo) -> None:
    results = echo.run([{"text": "a"}, {"text": "b", "hint": "h", "surplus": 1}], {"count": 5.0})
    assert [result["row"] for result in results] == [{"text": "a", "hint": None}, {"text": "b", "hint": "h"}]
    assert results[0]["parameters"] == {"count": 5, "switch": False}
    assert all(result["model"] == "echo-1" and result["seconds"] >= 0 for result in results)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], "0 rows; valid: 1 to"),
        ([{"text": "a"}] * (MAX_ROWS + 1), f"{MAX_ROWS + 1} rows; valid: 1 to {MAX_ROWS}"),
        ([{}], "column 'text' is missing; echo takes text, hint"),
        ([{"text": None}], r"text is empty .None."),
        ([{"text": "a"}, {"hint": "b"}], "row 2 of 2: column 'text' is missing"),
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
        ({"cuont": 3}, "unknown parameter 'cuont'; did you mean 'count'. valid: count, switch$"),
        ({"count": 3, "": 1}, "unknown parameter ''"),
        ({"count": 99}, "count is 99; valid: a whole number from 1 to 10"),
        ({"count": 1e300}, "count is 1.*; valid: a whole number from 1 to 10"),
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
        parameters = Parameters

    with pytest.raises(TaskInputError, match=r"unknown parameter 'count'; valid: none$"):
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

    for send, row in (
        (Strict(tmp_path, "s").run, "row 2 of 2: "),
        (lambda rows: Strict(tmp_path, "s").stream(rows[1]), ""),
    ):
        with pytest.raises(TaskInputError, match=rf"^{row}text is only white space; valid: text"):
            send([{"text": "good"}, {"text": " "}])


def test_memory_is_that_of_the_modules_a_task_holds(echo: Any) -> None:
    assert Task.memory_bytes(echo) == 0
    echo.network = torch.nn.Linear(3, 2)
    assert Task.memory_bytes(echo) == 4 * (3 * 2 + 2)
