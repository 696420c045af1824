"""The benchmark of our layers' cost: it measures the same work in turns, and says only what the times can tell."""

import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from experiments.config import ConfigError
from experiments.speed import serving
from experiments.speed.serving_report import Case, FirstPiece, OverheadResult
from experiments.speed.serving_run import LONG_NAME, in_turns
from experiments.starters import random_models

QUICK = ["--repeats", "2", "--long_repeats", "2", "--threads", "1"]


def test_random_models_are_measured_on_the_same_work(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(random_models, "GPT2_WORDS", 1000)
    small = partial(random_models.save_language_model, layers=1, width=32, heads=2)
    monkeypatch.setattr(random_models, "save_language_model", lambda folder, **_: small(folder))
    result = serving.main([*QUICK, "--tasks", "sentiment-analysis,story-completion", "--long_tokens", "30"])
    assert [case.name for case in result.cases] == [
        "tiny sentiment-analysis",
        "tiny story-completion",
        f"{LONG_NAME}, 30 tokens",
    ]
    assert all(case.same_answer for case in result.cases)
    assert [case.long for case in result.cases] == [False, False, True]
    for case in result.cases:
        assert len(case.bare) == len(case.predict) == 2 and min(case.bare) > 0
    classifier, *writers = result.cases
    assert classifier.stream == () and classifier.first is None
    for case in writers:
        assert len(case.stream) == 2 and case.first is not None
        for piece, token, whole in zip(case.first.piece, case.first.token, case.stream, strict=True):
            assert 0 < token < piece and piece < 20 * whole
    assert "first piece, tiny story-completion: read after" in capsys.readouterr().out


def test_calls_take_turns_and_each_begins_as_often() -> None:
    order: list[str] = []
    seconds = in_turns({name: partial(order.append, name) for name in "ab"}, 4)
    assert order == list("baabbaabba")[: len(order)] and len(order) == 10  # the first turn does not count
    assert {name: len(values) for name, values in seconds.items()} == {"a": 4, "b": 4}


def case(bare: float, ours: float, **changes: Any) -> Case:
    times = [0.0001 * step for step in range(8)]
    facts: dict[str, Any] = {"name": "one", "long": False, "same_answer": True, **changes}
    return Case(bare=tuple(bare + time for time in times), predict=tuple(ours + time for time in times), **facts)


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        (case(0.010, 0.012), "at most 5 ms a request: kept (2.00 [2.00, 2.00]), one"),
        (case(0.010, 0.020), "at most 5 ms a request: NOT kept (10.00"),
        (Case("one", False, True, (0.01,) * 6, (0.012, 0.02) * 3), "at most 5 ms a request: cannot be told ("),
        (Case("one", False, True, (0.01, 0.01), (0.012, 0.012)), "cannot be told from so few calls (median 2.00)"),
        (case(1.0, 1.01, long=True), "at most 2% on a long generation: kept (1.00"),
        (case(1.0, 1.10, long=True), "at most 2% on a long generation: NOT kept (10.00"),
        (case(0.010, 0.011, same_answer=False), "NOT the same work, since the bare model answered otherwise: one"),
    ],
)
def test_limits_are_called_kept_only_where_the_times_can_tell(measured: Case, expected: str) -> None:
    assert expected in OverheadResult((measured,), 1).table()


def test_the_delay_of_the_first_piece_is_counted_from_its_token() -> None:
    first = FirstPiece(piece=(0.012, 0.013, 0.014), token=(0.011, 0.012, 0.013), bare=(0.010,) * 3)
    text = OverheadResult((case(0.010, 0.011, stream=(0.011,) * 8, first=first),), 1).table()
    assert "read after 13.00 ms, 1.00 ms after the model had computed its first token (n=3)" in text
    assert "the bare model needs 10.00 ms to write one token" in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--models", "nobody"], "models names 'nobody': there is no registered model nobody; nothing is registered"),
        (["--models", ","], "names nothing"),
        (["--tasks", "chat"], "tasks names 'chat'; valid: sentiment-analysis"),
        (["--repeats", "1"], "repeats is 1; valid: a whole number from 2 to 10000"),
        (["--long_tokens", "5000"], "long_tokens is 5000; valid: a whole number from 0 to 900"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments: list[str], expected: str, store: Path) -> None:
    with pytest.raises(ConfigError, match=expected):
        serving.main(arguments)


def test_help_loads_neither_torch_nor_mlflow() -> None:
    program = (
        "import sys; from experiments.speed import serving\n"
        "try: serving.main(['--help'])\n"
        "finally: print(sorted({'torch', 'mlflow', 'transformers'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip().endswith("[]") and "--long_tokens " in result.stdout
