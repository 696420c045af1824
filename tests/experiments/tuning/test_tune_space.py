"""What a study searches: the table, and what a user may write instead."""

from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution as Choice

from experiments.cnn.recipes import resolve
from experiments.config import CnnConfig, ConfigError, Seq2SeqConfig, TrainConfig
from experiments.seq2seq.recipes import resolve_seq2seq
from experiments.tuning.space import (
    ON_REQUEST,
    SPACES,
    Part,
    between,
    limit_batch_size,
    make_space,
    nearest,
    recipe_in,
    suggest,
)

CNN, SEQ2SEQ = resolve(CnnConfig(dataset="cifar10")), resolve_seq2seq(Seq2SeqConfig())
BASES: dict[str, TrainConfig] = {"cnn": CNN, "seq2seq": SEQ2SEQ}


def suggested(name: str, part: Part, value: Any) -> Any:
    """What a trial draws that has this value; a warning if the value is outside."""
    trial: Any = optuna.trial.FixedTrial({name: value})
    return suggest(trial, name, part)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", SPACES)
def test_every_name_is_a_field_and_every_value_within_its_bounds(kind: str) -> None:
    assert not set(SPACES[kind]) & set(ON_REQUEST[kind])
    for name, part in {**SPACES[kind], **ON_REQUEST[kind]}.items():
        for value in part.choices if isinstance(part, Choice) else (part.low, part.high):
            kept = getattr(BASES[kind].replace(**{name: value}), name)
            assert kept == value and type(kept) is type(value)
            assert suggested(name, part, value) == value


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", SPACES)
def test_the_recipe_lies_within_the_space_or_is_brought_there(kind: str) -> None:
    values = recipe_in(SPACES[kind], BASES[kind])
    assert values is not None and values.keys() == SPACES[kind].keys()
    for name, part in SPACES[kind].items():
        assert suggested(name, part, values[name]) == values[name]
    assert values["learning_rate"] == BASES[kind].learning_rate


def test_there_is_no_recipe_in_a_space_without_anything_like_it() -> None:
    assert recipe_in({"optimizer": Choice(("sgd",))}, CNN) is None  # the recipe's is adamw
    assert recipe_in({"batch_size": Choice((32, 100))}, CNN) == {"batch_size": 100}  # the recipe's is 128


def test_the_user_changes_ranges_fixes_values_and_leaves_some_to_the_recipe() -> None:
    text = "learning_rate=1e-4:1e-2,optimizer=adamw,batch_size=64|128,cutout=2:6,flip=true,crop=auto,warmup=0:0.4"
    space, fixed = make_space("cnn", "cifar10", text, CNN)
    assert fixed == {"optimizer": "adamw", "flip": True}
    assert "crop" not in space and "optimizer" not in space
    assert space["learning_rate"] == between(1e-4, 1e-2, log=True)
    assert space["batch_size"] == Choice((64, 128))
    assert space["cutout"] == between(2, 6, step=4) and space["warmup"] == between(0.0, 0.4)
    assert space["weight_decay"] == SPACES["cnn"]["weight_decay"]


def test_digits_are_not_mirrored_unless_asked() -> None:
    assert "flip" not in make_space("cnn", "digits", "none", CNN)[0]
    assert "flip" in make_space("cnn", "digits", "flip=true|false", CNN)[0]


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("cnn", "lr=0.1:1", "search names 'lr'; .*valid: learning_rate"),
        ("cnn", "learningrate=0.1:1", "did you mean 'learning_rate'"),
        ("cnn", "hidden_size=32|64", "search names 'hidden_size'"),
        ("cnn", "seed=1|2", "search names 'seed'"),
        ("cnn", "learning_rate", "search has 'learning_rate'; valid: each part is name=low:high"),
        ("cnn", "learning_rate=", "search has 'learning_rate='"),
        ("cnn", "learning_rate=0.1:0.01", "the smaller number first"),
        ("cnn", "learning_rate=0:0.1", "search: learning_rate is 0.0; valid: auto, a number, above 0 and at most 100"),
        ("cnn", "learning_rate=0.1:1000", r"search: learning_rate is 1000.0; valid"),
        ("cnn", "learning_rate=a:b", "search: learning_rate is 'a'; valid: auto, a number, above 0 and at most 100"),
        ("cnn", "crop=0.5:2", "search: crop is '0.5'; valid: auto, a whole number from 0 to 16"),
        ("cnn", "flip=maybe", "search: flip is 'maybe'; valid: auto, true or false"),
        ("cnn", "optimizer=sgd|adam", "search: optimizer is 'adam'; did you mean 'adamw'"),
        ("cnn", "batch_size=16:64", r"search has batch_size=16:64; valid: values such as batch_size=32\|64"),
        ("cnn", "optimizer=sgd|auto", "search has auto among the values of optimizer; valid: optimizer=auto alone"),
        ("cnn", "crop=1:3,crop=2", "search names crop twice"),
        ("cnn", "crop=1|1", "names a value twice"),
        ("seq2seq", "cutout=1:3", "search names 'cutout'"),
        ("cnn", ",".join(f"{name}=auto" for name in SPACES["cnn"]), "leaves nothing to search"),
    ],
)
def test_what_is_no_parameter_range_or_value_is_refused(kind: str, text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        make_space(kind, "cifar10", text, BASES[kind])


def test_batch_sizes_are_those_that_the_data_have() -> None:
    space, _ = make_space("cnn", "digits", "none", CNN)
    assert limit_batch_size(space, CNN, 1000, "none") == (space, CNN)
    assert limit_batch_size(space, CNN, 100, "none")[0]["batch_size"] == Choice((32, 64))
    fewer, base = limit_batch_size(space, CNN, 40, "none")
    assert "batch_size" not in fewer and base.batch_size == 32
    assert limit_batch_size(space, CNN, 20, "none")[1].batch_size == 20
    asked, _ = make_space("cnn", "digits", "batch_size=64|512", CNN)
    with pytest.raises(ConfigError, match="search has batch_size=512; valid: at most 100, the training examples"):
        limit_batch_size(asked, CNN, 100, "batch_size=64|512")


def test_steps_reach_the_end_of_a_range() -> None:
    assert nearest(between(0, 16, step=4), 7) == 8 and nearest(between(0, 16, step=4), 99) == 16
    assert make_space("cnn", "cifar10", "cutout=0:6", CNN)[0]["cutout"] == between(0, 6, step=2)
