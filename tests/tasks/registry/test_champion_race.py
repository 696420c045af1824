"""Several promoters at once: the best becomes champion, whatever the order of their requests, and whoever dies."""

from collections.abc import Callable, Iterator

import mlflow
import pytest

from tasks import registry
from tasks.registry import champions
from tests.support.scheduled_registry import DiedError, Registry, Turns

METRIC = "val_accuracy"
SEEDS = 300


def tags(value: float, data: str = "d") -> dict[str, str]:
    return {"task": "image-classification", METRIC: repr(value), "data_sha256": data, "split_sha256": "s"}


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Registry]]:
    """A function that makes an empty registry, in force for promotions, with turns by a seed."""

    def make(seed: int, deaths: int = 0) -> Registry:
        made = Registry(Turns(seed, deaths))
        monkeypatch.setattr(champions, "MlflowClient", lambda: made)
        return made

    mlflow.set_tracking_uri("http://127.0.0.1:9")  # no lock of a file; nothing is asked there
    yield make
    mlflow.set_tracking_uri(None)


def promoter(made: Registry, value: float, number: str | None = None, data: str = "d") -> Callable[[], object]:
    """What registers a version (unless it is there already) and promotes it if it is better."""
    return lambda: registry.promote_if_better("model", number or made.create(tags(value, data)), METRIC)


def accuracy(made: Registry, version: str | None) -> float:
    assert version is not None
    return float(made.tags[int(version) - 1][METRIC])


@pytest.mark.parametrize("first", [True, False], ids=["no champion yet", "a champion"])
@pytest.mark.parametrize("values", [(0.9, 0.8), (0.8, 0.9, 0.7), (0.6, 0.9, 0.9, 0.7)], ids=str)
def test_the_best_of_several_promoters_is_champion_in_any_order(model, values: tuple[float, ...], first: bool) -> None:
    for seed in range(SEEDS):
        made = model(seed)
        if not first:
            promoter(made, 0.5)()
        made.turns.run(*(promoter(made, value) for value in values))
        assert accuracy(made, made.alias) == max(values), f"seed {seed}"


@pytest.mark.parametrize("tag", ["", "0.9 of 1", "nan", "inf", "1e999"])
def test_a_tag_that_is_no_usable_number_never_wins(model, tag: str) -> None:
    made = model(0)
    promoter(made, 0.5)()
    number = made.create({**tags(0.0), METRIC: tag})
    assert "champion 1 of model stays" in registry.promote_if_better("model", number, METRIC)
    assert made.alias == "1"


def test_what_waited_in_the_registry_can_contend_later(model) -> None:
    """As the trainings of a study do, which are versions long before their mean is known."""
    for seed in range(SEEDS):
        made = model(seed)
        promoter(made, 0.5)()
        late = [made.create(tags(value)) for value in (0.9, 0.99)]
        made.turns.run(*(promoter(made, value) for value in (0.6, 0.7)), promoter(made, 0.9, late[0]))
        assert made.alias == late[0], f"seed {seed}"  # 0.99 was not to contend


def test_a_choice_by_hand_is_replaced_by_what_is_new_and_better_only(model) -> None:
    for seed in range(SEEDS):
        made = model(seed)
        for value in (0.3, 0.95):
            promoter(made, value)()
        assert made.alias == "2"
        made.alias = "1"  # as in Open MLflow
        values = [made.turns.draw.choice((0.2, 0.4, 0.6)) for _ in range(3)]
        made.turns.run(*(promoter(made, value) for value in values))
        assert accuracy(made, made.alias) == max(0.3, *values), f"seed {seed}"


def test_the_next_promoter_puts_right_what_a_dead_one_left(model) -> None:
    died = 0
    for seed in range(SEEDS):
        made = model(seed, deaths=2)
        promoter(made, 0.5)()
        made.turns.run(*(promoter(made, value) for value in (0.8, 0.9, 0.7)))
        died += made.turns.deaths < 2
        made.hour = 1
        promoter(made, 0.1)()
        contended = [number for number, one in enumerate(made.tags, start=1) if champions.PROMOTION in one]
        assert accuracy(made, made.alias) == max(accuracy(made, str(number)) for number in contended), f"seed {seed}"
        # Nobody is still waited for: a choice by hand is safe again.
        made.alias = "1"
        promoter(made, 0.2)()
        assert made.alias == "1", f"seed {seed}"
    assert died > SEEDS / 3


def test_other_data_do_not_count_in_any_order(model) -> None:
    for seed in range(SEEDS):
        made = model(seed)
        promoter(made, 0.5)()
        made.turns.run(promoter(made, 0.99, data="other"), promoter(made, 0.7), promoter(made, 0.6))
        assert accuracy(made, made.alias) == 0.7, f"seed {seed}"


def test_the_first_champion_is_the_first_version_of_its_data_or_a_better_one(model) -> None:
    for seed in range(SEEDS):
        made = model(seed)
        made.turns.run(promoter(made, 0.99, data="other"), promoter(made, 0.7), promoter(made, 0.6))
        kept = made.tags[int(made.alias or 0) - 1]
        assert kept["data_sha256"] == "other" or accuracy(made, made.alias) == 0.7, f"seed {seed}"


@pytest.mark.parametrize("killed", [False, True])
def test_an_outdated_reading_is_put_right(model, killed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worse promoter has read, the better one comes and goes, and only then the worse one sets the champion."""
    made = model(0)
    promoter(made, 0.7)()
    honest = made.set_registered_model_alias

    def late(*arguments: str) -> None:
        monkeypatch.setattr(made, "set_registered_model_alias", honest)
        assert (
            promoter(made, 0.9)()
            == "model version 3 becomes champion: validation accuracy 0.9000, version 1 had 0.7000"
        )
        honest(*arguments)
        if killed:
            raise DiedError

    monkeypatch.setattr(made, "set_registered_model_alias", late)
    if killed:
        with pytest.raises(DiedError):
            promoter(made, 0.8)()
        assert made.alias == "2"  # until the next promoter comes, or this one tries again
        promoter(made, 0.8, "2")()
    else:
        decided = promoter(made, 0.8)()
        assert decided == "champion 3 of model stays: its validation accuracy is 0.9000, version 2 has 0.8000"
    assert made.alias == "3"
    assert [one[champions.PROMOTION].split()[0] for one in made.tags] == ["closed"] * 3
