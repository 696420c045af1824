"""What parameters and runs are called on the pages."""

import pytest

from ui.labels import label
from ui.running.programs import title


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("num_beams", "Beam width"),
        ("ema_decay", "EMA decay"),
        ("grad_clip", "Gradient clipping"),
        ("top_k", "Top-k"),
        ("learning_rate", "Learning rate"),
    ],
)
def test_parameters_have_the_names_of_the_field(name: str, shown: str) -> None:
    assert label(name) == shown


@pytest.mark.parametrize(
    ("entry", "values", "shown"),
    [
        ("cnn", {"epochs": "3"}, "lenet5 on digits"),
        ("cnn", {"resume": "0123"}, "cnn resume=0123"),
        ("compare", {"models": "small"}, "Comparison of small"),
        ("tune", {}, "Tuning"),
        ("register", {"model": "x/y{z}", "task": "chatbot"}, "Registration of x/y{z} for chatbot"),
        ("register", {"task": "all"}, "Registration for all tasks"),
        ("unknown", {"a": "b"}, "unknown a=b"),
    ],
)
def test_runs_are_called_by_what_they_make(entry: str, values: dict[str, str], shown: str) -> None:
    assert title(entry, values) == shown
