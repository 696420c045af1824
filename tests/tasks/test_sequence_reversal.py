"""Task `sequence-reversal`: what it answers, and what it refuses."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tasks import describe_folder, open_task
from tasks.base import ModelFolderError, TaskInputError
from tasks.sequence_reversal import ReverserConfig, SequenceReversal, load_reverser
from tasks.trained import save_network

CONFIG = ReverserConfig("gru", "dot", "none", vocab_size=10, max_length=4, longest=20, hidden_size=16, layers=1)


def make(folder: Path, config: ReverserConfig = CONFIG) -> SequenceReversal:
    torch.manual_seed(0)
    save_network(folder, config.build(), config)
    describe_folder(folder, "sequence-reversal", "tiny")
    task = open_task(folder, "cpu")
    assert isinstance(task, SequenceReversal)
    task.load()
    return task


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> SequenceReversal:
    return make(tmp_path_factory.mktemp("model"))


def test_an_answer_has_the_sequence_and_where_the_network_looked(task: SequenceReversal) -> None:
    (row,) = task.run([{"sequence": [1, 2, 3]}])
    assert set(row) == {"reversed", "attention", "correct", "beyond_training", "model", "seconds"}
    assert len(row["attention"]) == len(row["reversed"])
    assert all(len(line) == 3 and 0 <= sum(line) <= 1.0001 for line in row["attention"])
    assert row["correct"] == (row["reversed"] == [3, 2, 1])
    assert row["beyond_training"] is False
    assert task.run([{"sequence": [1] * 5}])[0]["beyond_training"] is True


def test_a_batch_gives_what_each_sequence_gives_alone(task: SequenceReversal) -> None:
    sequences = [[1], [4, 5, 6, 7, 8, 9, 0, 1], [3, 3]]
    together = task.run([{"sequence": sequence} for sequence in sequences])
    for sequence, row in zip(sequences, together, strict=True):
        (alone,) = task.run([{"sequence": sequence}])
        assert alone["reversed"] == row["reversed"]
        np.testing.assert_allclose(alone["attention"], row["attention"], atol=1e-5)


@pytest.mark.parametrize("beam_width", [1, 3])
def test_the_steps_say_what_else_could_have_been_written(task: SequenceReversal, beam_width: int) -> None:
    rows = task.run([{"sequence": [1, 2, 3]}, {"sequence": [4] * 9}], {"beam_width": beam_width, "alternatives": 4})
    for row in rows:
        steps = row["steps"]
        assert [int(one["token"]) for one in steps if one["token"].isdigit()] == row["reversed"]
        assert all(one["token"] != "end" for one in steps[:-1])
        written = [one["attention"] for one in steps if one["token"].isdigit()]
        np.testing.assert_allclose(written, row["attention"], atol=1e-5)
        for one in steps:
            odds = [other["probability"] for other in one["alternatives"]]
            assert len(odds) == 4 and odds == sorted(odds, reverse=True) and 0 < sum(odds) <= 1.0001
            if beam_width == 1:
                assert one["alternatives"][0]["token"] == one["token"]


def test_arrays_and_whole_floats_are_taken(task: SequenceReversal) -> None:
    (expected,) = task.run([{"sequence": [1, 2, 3]}])
    for same in (np.array([1, 2, 3]), np.array([1.0, 2.0, 3.0]), (1, 2, 3), [1.0, 2, 3]):
        assert task.run([{"sequence": same}])[0]["reversed"] == expected["reversed"]


def test_a_beam_answers_too(task: SequenceReversal) -> None:
    (row,) = task.run([{"sequence": [1, 2, 3]}], {"beam_width": 4})
    assert len(row["attention"]) == len(row["reversed"])


def test_without_attention_there_is_none(tmp_path: Path) -> None:
    without = make(tmp_path, ReverserConfig("lstm", "none", "none", 10, 4, 20, 16, 1))
    assert without.run([{"sequence": [1]}])[0]["attention"] is None


VALID = "valid: 1 to 20 whole numbers from 0 to 9"


@pytest.mark.parametrize(
    ("sequence", "expected"),
    [
        ([], f"sequence has 0 numbers; {VALID}"),
        ([1] * 21, f"sequence has 21 numbers; {VALID}"),
        ([1, 10], f"sequence has '10' at place 2; {VALID}"),
        ([-1], f"sequence has '-1' at place 1; {VALID}"),
        ([1.5], f"sequence has '1.5' at place 1; {VALID}"),
        ([float("nan")], f"sequence has 'nan' at place 1; {VALID}"),
        ([float("inf")], f"sequence has 'inf' at place 1; {VALID}"),
        ([True], f"sequence has 'True' at place 1; {VALID}"),
        (["1"], f"sequence has '1' at place 1; {VALID}"),
        ([[1]], f"sequence has '[1]' at place 1; {VALID}"),
        ([10**400], "sequence has '1000"),
        ("123", f"sequence is not a list; {VALID}"),
        (7, f"sequence is not a list; {VALID}"),
        ({"a": 1}, f"sequence is not a list; {VALID}"),
        (np.int64(3), f"sequence is not a list; {VALID}"),
        (None, "sequence is empty (None)"),
    ],
)
def test_what_cannot_be_reversed_is_refused_by_name(task: SequenceReversal, sequence: object, expected: str) -> None:
    with pytest.raises(TaskInputError) as caught:
        task.run([{"sequence": sequence}])
    assert expected in str(caught.value)


def test_the_beam_has_bounds(task: SequenceReversal) -> None:
    with pytest.raises(TaskInputError, match="beam_width is 0; valid: a whole number from 1 to 16"):
        task.run([{"sequence": [1]}], {"beam_width": 0})


def test_a_config_without_all_fields_is_refused(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "config.json").write_text('{"cell": "gru"}')
    with pytest.raises(ModelFolderError, match=r"config\.json cannot be used"):
        load_reverser(tmp_path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, 0, 1.5, 10**30, 10**12, True, "x" * 5000, [], {}])
@pytest.mark.parametrize("name", ["vocab_size", "max_length", "longest", "hidden_size", "layers"])
def test_sizes_that_cannot_be_are_refused_in_one_line_before_memory_is_taken(
    name: str, value: Any, tmp_path: Path
) -> None:
    make(tmp_path)
    fields = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**fields, name: value}))
    with pytest.raises(ModelFolderError, match=rf"config\.json cannot be used: {name} is .*; valid: ") as caught:
        load_reverser(tmp_path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_fault_in_one_of_several_names_its_row(task: SequenceReversal) -> None:
    with pytest.raises(TaskInputError, match=r"^row 2 of 3: sequence has 'nan' at place 1; "):
        task.run([{"sequence": [1]}, {"sequence": [float("nan")]}, {"sequence": [2]}])
