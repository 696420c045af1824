"""Parameters: what is accepted, what is refused and in which words, and that values are shown in short."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.parameters import Parameters, explain, from_text, option, short

HUGE = 10**400


class Sample(Parameters):
    count: int = option(3, "how many", ge=1, le=10)
    large: int = option(0, "a large bound", ge=0, le=2**64)
    side: int = option(None, "in steps", ge=64, le=1024, multiple_of=8)
    share: float = option(0.5, "how much", ge=0, le=1)
    number: float = option(0.5, "any")
    least: int = option(3, "open above", ge=1)
    between: float = option(0.5, "without its bounds", gt=0, lt=1)
    word: str = option("hello", "what to say")
    note: str = option("", "a text with bounds", min_length=2, max_length=5)
    color: str = option("red", "one of them", choices=("red", "green"))
    switch: bool = option(False, "on or off")


class Typed(Sample):
    automatic = True


def refused(given: Any, model: type[Parameters] = Sample) -> str:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(given)
    line = explain(caught.value, model)
    assert len(line) < 250 and "\n" not in line
    return line


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("count", None, 3),
        ("count", 10, 10),
        ("count", 3.0, 3),
        ("large", 2**64, 2**64),
        ("side", None, None),
        ("side", 72, 72),
        ("share", None, 0.5),
        ("share", 1, 1.0),
        ("share", np.float64(0.25), 0.25),
        ("number", -1e300, -1e300),
        ("word", "", ""),
        ("word", np.str_("ab"), "ab"),
        ("note", "😀שלום", "😀שלום"),
        ("color", "green", "green"),
        ("switch", True, True),
    ],
)
def test_a_valid_value_comes_back_as_the_type_of_its_field(name: str, given: Any, expected: Any) -> None:
    value = getattr(Sample.model_validate({name: given}), name)
    assert value == expected
    assert type(value) is type(expected)


NO_NUMBERS = (HUGE, -HUGE, 10**5000, float("nan"), float("inf"), float("-inf"), True, "3", [3], {}, b"3", 1j)


@pytest.mark.parametrize(
    ("name", "given", "valid"),
    [
        *(("count", bad, "a whole number from 1 to 10") for bad in (*NO_NUMBERS, 0, 11, -1, 3.5)),
        *(("share", bad, "a number from 0 to 1") for bad in (*NO_NUMBERS, -0.001, 1.001)),
        *(("number", bad, "a number") for bad in NO_NUMBERS),
        ("large", 2**64 + 1, "a whole number from 0 to 18446744073709551616"),
        ("side", 65, "a whole number from 64 to 1024, a multiple of 8"),
        ("least", 0, "a whole number, at least 1"),
        *(("between", bad, "a number, above 0 and below 1") for bad in (0, 1)),
        *(("word", bad, "text") for bad in (3, True, ["a"], b"a", np.array(["a"]))),
        *(("note", bad, "text of 2 to 5 characters") for bad in ("a", "abcdef")),
        *(("color", bad, "red, green") for bad in ("blue", "", 3, "Red ")),
        *(("switch", bad, "true or false") for bad in (1, 0, "true", 0.0)),
    ],
    ids=lambda value: repr(value)[:20] if value != 10**5000 else "very long",
)
def test_an_invalid_value_is_refused_with_what_is_valid(name: str, given: Any, valid: str) -> None:
    line = refused({name: given})
    assert line.startswith(f"{name} is {short(given)}; ") and line.endswith(f"valid: {valid}")


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ("a\0b", "has a NUL at character 2"),
        ("ab\ud800", "has half of a surrogate pair at character 3"),
        ("é" * 2**20, "has 2097152 bytes"),
    ],
    ids=lambda value: ascii(value[:9]),
)
def test_a_text_that_cannot_be_used_is_refused(given: str, fault: str) -> None:
    assert refused({"note": given}) == f"note {fault}; valid: text of 2 to 5 characters"
    assert refused({"word": given}) == f"word {fault}; valid: text"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"cuont": 3}, "unknown parameter 'cuont'; did you mean 'count'? valid: count, large, "),
        ({"count": 99, "": 1}, "unknown parameter ''; valid: count, "),
        ({3: 1}, "unknown parameter 3; valid: count, "),
        ({"x" * 10**6: 1}, f"unknown parameter {short('x' * 10**6)}; valid: count, "),
        ({"color": "gren"}, "color is 'gren'; did you mean 'green'? valid: red, green"),
    ],
    ids=["close", "empty", "no text", "long", "choice"],
)
def test_an_unknown_name_is_refused_with_the_closest_one(given: Any, line: str) -> None:
    assert refused(given).startswith(line)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("count", "7", 7),
        ("share", "1e-1", 0.1),
        ("switch", "Yes", True),
        ("switch", "0", False),
        ("word", "auto", "auto"),
        ("word", "7", "7"),
        ("side", "auto", None),
    ],
)
def test_a_typed_text_becomes_the_type_of_its_field(name: str, text: str, expected: Any) -> None:
    assert from_text(Sample.specs()[name], text) == expected


@pytest.mark.parametrize(("name", "text"), [("count", "seven"), ("count", "3.5"), ("share", "half"), ("switch", "on")])
def test_a_typed_text_of_another_type_is_refused_as_it_was_typed(name: str, text: str) -> None:
    assert refused({name: from_text(Sample.specs()[name], text)}).startswith(f"{name} is {text!r}; ")


def test_what_is_decided_later_may_be_typed() -> None:
    assert refused({"side": "x"}, Typed).endswith("; valid: auto, a whole number from 64 to 1024, a multiple of 8")


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


def test_a_value_in_an_error_is_short_whatever_it_is() -> None:
    deep: list[Any] = []
    for _ in range(10_000):
        deep = [deep]
    assert short(deep).startswith("[[[") and len(short(deep)) < 60
    assert short(10**5000) == "a very long number"
    assert len(short("x" * 5000)) == 60
