"""The recipe for sentiment: SST-2 read and made natural, a tiny training from end to end, its figures."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from experiments.config import StarterConfig, UserError
from experiments.starters.encoders import sentiment, setup
from experiments.starters.encoders.encoder import Size
from experiments.starters.encoders.sentiment import STARTER, SentimentLesson, read
from experiments.starters.encoders.sst2 import Review, natural, read_sst2
from experiments.training import run as training
from experiments.training.loop import fit
from tasks import task_class
from tasks.hub.checks import check_folder
from tests.experiments.starters.test_encoders import save_encoder
from tests.support.runs import artifacts, only_run

RECIPE = setup.Recipe(Size(layers=2, units=32, pieces=130, window=32), 6, 16, 0.01, dropout=0.0)


def write_reviews(data_dir: Path, train: int = 160, dev: int = 40) -> Path:
    """Sentences that are positive if they say `good` without a `not`, as SST-2 writes them."""
    rng = random.Random(0)
    folder = data_dir / "text" / "sst2"
    folder.mkdir(parents=True)
    for name, count in (("train", train), ("dev", dev)):
        lines = []
        for number in range(count):
            label = rng.randint(0, 1)
            feeling = rng.choice(["good", "very good"] if label else ["bad", "not good", "very bad"])
            lines.append(f"the {rng.choice(['film', 'story', 'house'])} {number} was {feeling} , really\t{label}\n")
        (folder / f"{name}.tsv").write_text("".join(lines))
    return data_dir


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(setup.RECIPES, "sentiment-analysis", RECIPE)


def config(data_dir: Path, **values: Any) -> StarterConfig:
    given: dict[str, Any] = {"threads": 1, "precision": "fp32", "device": "cpu", "register": False, **values}
    return StarterConfig(task="sentiment-analysis", data_dir=str(data_dir), **given)


def test_a_training_ends_in_a_folder_that_the_task_takes(store: Path) -> None:
    data_dir, encoder = write_reviews(store / "data"), save_encoder(store / "encoder")
    folder = store / "out"

    def save(prepared: Any, network: Any, where: Path) -> Any:
        STARTER.family.save(prepared, network, folder)
        return STARTER.family.save(prepared, network, where)

    family = type(STARTER.family)(**{**vars(STARTER.family), "save": save})
    result = training.train(family, config(data_dir, encoder=str(encoder)))
    assert result is not None and result.metrics["test_accuracy"] > 0.9
    assert result.columns == ("loss", "accuracy") and "validation" in result.table()
    check_folder(folder)
    task: Any = task_class("sentiment-analysis")(folder, "starter", "cpu")
    task.load()
    good, bad = task.run([{"text": "The house 7 was very good, really."}, {"text": "the film 3 was bad, really"}])
    assert (good["label"], bad["label"]) == ("POSITIVE", "NEGATIVE") and task.window == 32
    left = artifacts(only_run())
    said = json.loads((left / "reports" / "test_answers.json").read_text())
    right = sum(one["label"] == one["said"] for one in said) / len(said)
    assert len(said) == 40 and right == pytest.approx(result.metrics["test_accuracy"])
    assert {path.name for path in (left / "plots").iterdir()} == {"loss_curve.png", "accuracy_curve.png"}
    # The figures are of the folder, and the same as the training's.
    figures = {figure.name: figure for figure in STARTER.judge(folder, data_dir).figures}
    accuracy = figures["accuracy on SST-2 dev (40 sentences)"]
    assert accuracy.value == pytest.approx(right) and "majority class 0." in accuracy.beside
    seconds = figures["seconds from loading the model to its first answer"].value
    assert 0 < seconds < 3


def test_random_weights_learn_too(tmp_path: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch) -> None:
    small = setup.Recipe(Size(layers=1, units=32, pieces=90, window=32), 2, 16, 0.001)
    monkeypatch.setitem(setup.RECIPES, "sentiment-analysis", small)
    made = prepared(config(write_reviews(tmp_path)), accelerator)
    before = made.evaluate(made.state.network)["loss"]
    run(made, 2)
    assert made.state.history[-1]["val_loss"] < before and made.title == "starter sentiment from random weights, seed 0"


def prepared(given: StarterConfig, accelerator: Accelerator) -> Any:
    return STARTER.family.prepare(STARTER.family.decide(given), accelerator)


def run(made: Any, epochs: int) -> None:
    fit(
        made.state,
        batches=made.batches.epoch,
        step=made.step,
        evaluate=made.evaluate,
        epochs=epochs,
        seed=made.config.seed,
        on_epoch_end=lambda *_: None,
        grad_clip=made.config.grad_clip,
    )


def test_going_on_from_a_checkpoint_changes_nothing(tmp_path: Path, accelerator: Accelerator) -> None:
    given = config(write_reviews(tmp_path), encoder=str(save_encoder(tmp_path / "encoder")), epochs=2)
    straight, halted, resumed = (prepared(given, accelerator) for _ in range(3))
    run(straight, 2)
    run(halted, 1)
    resumed.state.restore(halted.state.tensors(), halted.state.values())
    run(resumed, 2)
    for name, value in straight.state.tensors()["model"].items():
        assert torch.equal(value, resumed.state.tensors()["model"][name]), name


def test_every_sentence_is_seen_in_both_forms_in_turns(tmp_path: Path, accelerator: Accelerator) -> None:
    given = config(write_reviews(tmp_path), encoder=str(save_encoder(tmp_path / "encoder")))
    lesson = prepared(given, accelerator).lesson
    one, other, again = (lesson.items(epoch) for epoch in (1, 2, 3))
    for place, (raw, typed) in enumerate(zip(*lesson.forms, strict=True)):
        assert [tuple(items[place].tokens) for items in (one, other)] == [
            tuple(form.tokens) for form in ((raw, typed) if place % 2 else (typed, raw))
        ]
        assert one[place].tokens == again[place].tokens and raw.tokens != typed.tokens
        assert raw.target.item() == typed.target.item() == lesson.data.train[place].label


def test_train_size_cuts_the_training_sentences_only(tmp_path: Path) -> None:
    data_dir = write_reviews(tmp_path)
    whole, cut = read(config(data_dir)), read(config(data_dir, train_size=20))
    assert cut.data.train == whole.data.train[:20] and cut.data.val == whole.data.val and cut.data.test
    assert cut.identity().sha256 != whole.identity().sha256
    assert cut.identity().split_sha256 == whole.identity().split_sha256


def test_validation_is_held_out_by_the_sentence(tmp_path: Path) -> None:
    data = read_sst2(write_reviews(tmp_path, train=1000))
    assert 60 < len(data.val) < 140 and len(data.train) + len(data.val) == 1000 and len(data.test) == 40
    assert not {review.text for review in data.train} & {review.text for review in data.val}
    assert isinstance(read(config(tmp_path)), SentimentLesson)


@pytest.mark.parametrize("line", ["no tab", "text\t2", "text\t", "text\t1 "])
def test_damaged_data_are_named(tmp_path: Path, line: str) -> None:
    write_reviews(tmp_path)
    (tmp_path / "text" / "sst2" / "dev.tsv").write_text(f"fine\t1\n{line}\n")
    with pytest.raises(UserError, match=r"line 2 of .*dev\.tsv is not"):
        read_sst2(tmp_path)
    (tmp_path / "text" / "sst2" / "train.tsv").unlink()
    with pytest.raises(UserError, match=r"train\.tsv does not exist"):
        read_sst2(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("it 's good , and i do n't mind", "it's good, and i don't mind."),
        ("they ca n't and wo n't", "they can't and won't."),
        ("`` big '' is what it is n't !", '"big" isn\'t what it is!'.replace("isn't what it is", "is what it isn't")),
        ("a film lrb 1984 rrb of boys ' games", "a film (1984) of boys' games."),
        ("why ?", "why?"),
        ("lookin ' for ` art '", 'lookin\' for "art"'),
    ],
)
def test_sentences_become_what_people_type(text: str, expected: str) -> None:
    assert natural(text) == expected


def test_a_bag_of_words_learns_from_all_that_is_not_tested() -> None:
    rows = [Review(text, label) for text, label in (("good film", 1), ("bad film", 0)) for _ in range(5)]
    data = sentiment.Sst2(tuple(rows), (Review("fine film", 1),) * 5, (Review("so fine", 0), Review("so bad", 0)))
    assert sentiment._bag_of_words(data) == ["POSITIVE", "NEGATIVE"]
