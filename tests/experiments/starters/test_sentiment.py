"""The recipe for sentiment: SST-2 read and made natural, a tiny training from end to end, its figures."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from experiments.config import ConfigError, StarterConfig, UserError
from experiments.starters.corpora import Corpus
from experiments.starters.encoders.encoder import Size
from experiments.starters.encoders.sentiment import STARTER, Review, SentimentTask, bag_of_words, natural, read_sst2
from tasks.hub.checks import check_folder
from tests.support.runs import artifacts, only_run
from tests.support.tiny_encoder import save_encoder, shrink_recipe, tiny_config, train_epochs, trained

TASK = "sentiment-analysis"


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
    shrink_recipe(monkeypatch, SentimentTask, Size(layers=2, units=32, pieces=130, window=32), epochs=6)


def test_a_training_ends_in_a_folder_that_the_task_takes(store: Path) -> None:
    data_dir, folder = write_reviews(store / "data"), store / "out"
    result, task, said = trained(TASK, data_dir, folder)
    assert result.metrics["test_accuracy"] > 0.9
    assert result.columns == ("loss", "accuracy") and "validation" in result.table()
    check_folder(folder)
    good, bad = task.run([{"text": "The house 7 was very good, really."}, {"text": "the film 3 was bad, really"}])
    assert (good["label"], bad["label"]) == ("POSITIVE", "NEGATIVE") and task.window == 32
    right = sum(one["label"] == one["said"] for one in said) / len(said)
    assert len(said) == 40 and right == pytest.approx(result.metrics["test_accuracy"])
    plots = artifacts(only_run()) / "plots"
    assert {path.name for path in plots.iterdir()} == {"loss_curve.png", "accuracy_curve.png"}
    # The figures are of the folder, and the same as the training's.
    figures = {figure.name: figure for figure in STARTER.evaluate(folder, data_dir).figures}
    accuracy = figures["accuracy on SST-2 dev (40 sentences)"]
    assert accuracy.value == pytest.approx(right) and "majority class 0." in accuracy.beside
    assert 0 < figures["seconds from loading the model to its first answer"].value < 3
    card = (folder / "README.md").read_text()
    assert "| parameters | " in card and "Not measured yet." in card and "SST-2" in card


def prepared(given: StarterConfig, accelerator: Accelerator) -> Any:
    return STARTER.family.prepare(STARTER.family.decide(given), accelerator)


def test_random_weights_learn_and_going_on_from_a_checkpoint_changes_nothing(
    tmp_path: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SentimentTask, "size", Size(layers=1, units=32, pieces=90, window=32))
    given = tiny_config(TASK, write_reviews(tmp_path), epochs=2, learning_rate=0.001)
    straight, halted, resumed = (prepared(given, accelerator) for _ in range(3))
    before = straight.evaluate(straight.state.network)["loss"]
    train_epochs(straight, 2)
    assert straight.state.history[-1]["val_loss"] < before
    assert straight.title == "starter sentiment from random weights, seed 0"
    train_epochs(halted, 1)
    resumed.state.restore(halted.state.tensors(), halted.state.values())
    train_epochs(resumed, 2)
    for name, value in straight.state.tensors()["model"].items():
        assert torch.equal(value, resumed.state.tensors()["model"][name]), name


def test_a_batch_larger_than_the_data_is_refused(tmp_path: Path, accelerator: Accelerator) -> None:
    with pytest.raises(ConfigError, match="batch_size is 16; valid: 1 to 9"):
        prepared(tiny_config(TASK, write_reviews(tmp_path), train_size=9), accelerator)


def test_every_sentence_is_seen_in_both_forms_in_turns(tmp_path: Path, accelerator: Accelerator) -> None:
    given = tiny_config(TASK, write_reviews(tmp_path), encoder=str(save_encoder(tmp_path / "encoder")))
    task = prepared(given, accelerator).task
    one, other, again = (task.items(epoch) for epoch in (1, 2, 3))
    for place, (raw, typed) in enumerate(zip(*task.forms, strict=True)):
        assert [tuple(items[place].tokens) for items in (one, other)] == [
            tuple(form.tokens) for form in ((raw, typed) if place % 2 else (typed, raw))
        ]
        assert one[place].tokens == again[place].tokens and raw.tokens != typed.tokens
        assert raw.target.item() == typed.target.item() == task.data.train[place].label


def test_train_size_cuts_the_training_sentences_only(tmp_path: Path) -> None:
    whole = read_sst2(write_reviews(tmp_path))
    cut = SentimentTask.load(tiny_config(TASK, tmp_path, train_size=20)).data
    assert cut.train == whole.train[:20] and cut.val == whole.val and cut.test == whole.test
    assert cut.digest() != whole.digest() and cut.held_out_digest() == whole.held_out_digest()


def test_validation_is_held_out_by_the_sentence(tmp_path: Path) -> None:
    data = read_sst2(write_reviews(tmp_path, train=1000))
    assert 60 < len(data.val) < 140 and len(data.train) + len(data.val) == 1000 and len(data.test) == 40
    assert not {review.text for review in data.train} & {review.text for review in data.val}


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
    data = Corpus(tuple(rows), (Review("fine film", 1),) * 5, (Review("so fine", 0), Review("so bad", 0)))
    assert bag_of_words(data) == ["POSITIVE", "NEGATIVE"]
