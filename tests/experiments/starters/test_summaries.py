"""The recipe for summaries: SciTLDR read, what is wanted of each sentence, the loss, a tiny training."""

import json
import math
import random
from pathlib import Path

import pytest
import torch

from experiments.config import UserError
from experiments.evaluation.text_metrics import rouge
from experiments.starters.corpora import Corpus
from experiments.starters.encoders.encoder import Size
from experiments.starters.encoders.summaries import (
    STARTER,
    Paper,
    SummaryTask,
    choice_loss,
    lead,
    read_scitldr,
    scored,
    wanted_fractions,
)
from tasks.hub.checks import check_folder
from tests.support.tiny_encoder import shrink_recipe, tiny_config, tokenizer, trained

NOISE = ["The river is old.", "The king was in town.", "A dog found the house.", "What is new in the sea?"]


def write_papers(data_dir: Path, train: int = 120, dev: int = 20) -> Path:
    """Abstracts one of whose sentences says what we show, which is also the summary."""
    rng = random.Random(0)
    folder = data_dir / "text" / "scitldr" / "SciTLDR-A"
    folder.mkdir(parents=True)
    for name, count in (("train", train), ("dev", dev)):
        lines = []
        for number in range(count):
            main = f"We show that our method {rng.choice(['lit', 'found', 'lost'])} the {rng.choice(['lamp', 'paper'])}"
            source = rng.sample(NOISE, k=3)
            source.insert(rng.randint(0, 3), f"{main}.")
            row = {"source": source, "target": [main.lower(), "something else"], "title": f"{name} {number}"}
            lines.append(json.dumps(row))
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    return data_dir


def test_a_training_ends_in_a_folder_that_the_task_takes(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_recipe(monkeypatch, SummaryTask, Size(layers=2, units=32, pieces=160, window=64), epochs=8)
    data_dir, folder = write_papers(store / "data"), store / "out"
    result, task, said = trained("summarization", data_dir, folder)
    assert result.metrics["test_accuracy"] > 0.9 and result.metrics["test_rougeL"] > 0.8
    check_folder(folder)
    [row] = task.run([{"text": "The sea is old. The cat was in the house. We show that our method lost the dog."}])
    assert row["summary"] == "We show that our method lost the dog."
    # The task says what was measured in training.
    papers = read_scitldr(data_dir).test
    assert [one["said"] for one in said] == [row["summary"] for row in task.run([{"text": one.text} for one in papers])]
    found = STARTER.evaluate(folder, data_dir)
    rouge_l = {figure.name: figure for figure in found.figures}["ROUGE-L on SciTLDR-A dev (20 abstracts)"]
    assert rouge_l.value == pytest.approx(result.metrics["test_rougeL"], abs=1e-6)
    assert float(rouge_l.beside.split()[-1]) < rouge_l.value
    assert found.examples.count("\n\n> ") == 2


def test_validation_is_held_out_by_title(tmp_path: Path) -> None:
    data = read_scitldr(write_papers(tmp_path, train=500))
    assert 25 < len(data.val) < 85 and len(data.train) + len(data.val) == 500 and len(data.test) == 20
    assert not {paper.title for paper in data.train} & {paper.title for paper in data.val}
    assert data.test[0].summaries[1] == "something else" and "We show that our method" in data.test[0].text


@pytest.mark.parametrize("line", ["{", "{}", '{"source": 3, "target": [], "title": "x"}', "[]"])
def test_damaged_data_are_named(tmp_path: Path, line: str) -> None:
    write_papers(tmp_path)
    (tmp_path / "text" / "scitldr" / "SciTLDR-A" / "train.jsonl").write_text(line)
    with pytest.raises(UserError, match=r"line 1 of .*train\.jsonl is not a paper of SciTLDR"):
        read_scitldr(tmp_path)


def test_sentences_are_wanted_as_they_resemble_the_summary() -> None:
    shares = wanted_fractions(["we lit the lamp", "the lamp", "nothing of it"], ["We lit the lamp."])
    assert shares.sum().item() == pytest.approx(1) and shares[0] > 0.9 and shares[1] > shares[2]
    # "the lamp": ROUGE-1 and -L 2 of 2 and 4 words, ROUGE-2 1 of 1 and 3 pairs.
    score = (2 * 2 / 6 * 2 + 2 * 1 / 4) / 3
    assert math.log(shares[0] / shares[1]) == pytest.approx((1 - score) / 0.1, rel=1e-4)


def test_the_best_of_several_summaries_counts() -> None:
    assert scored("a lamp", ["nothing", "a lamp"]) == rouge("a lamp", "a lamp")


def test_the_loss_is_of_the_choice_among_sentences() -> None:
    # Two texts: tokens of sentences 1, 1, 2 and 1, 2, 3; the first is padded.
    logits = torch.tensor([[9.0, 1.0, 3.0, 0.0, 7.0], [9.0, 1.0, 0.0, 2.0, 9.0]])
    owners = torch.tensor([[0, 1, 1, 2, 0], [0, 1, 2, 3, 0]])
    wanted = torch.tensor([[0, 0.75, 0.75, 0.25, 0], [0, 0, 0, 1, 0]])
    loss, right = choice_loss(logits, torch.stack([owners.float(), wanted], dim=1))
    first, second = torch.tensor([2.0, 0.0]).log_softmax(0), torch.tensor([1.0, 0.0, 2.0]).log_softmax(0)
    assert loss.tolist() == pytest.approx([-(0.75 * first[0] + 0.25 * first[1]).item(), -second[2].item()], rel=1e-5)
    assert right.tolist() == [1, 1]
    assert choice_loss(-logits, torch.stack([owners.float(), wanted], dim=1))[1].tolist() == [0, 0]


def test_what_is_longer_than_the_window_is_cut() -> None:
    paper = Paper("x", " ".join(["The old king was lost. We show our method."] * 8), ("We show our method.",))
    task = SummaryTask(Corpus((paper,), (), ()), tiny_config("summarization", Path()))
    task.tokenizer = tokenizer()
    task.tokenizer.model_max_length = 32
    (item,) = task.encode([paper])
    assert len(item.tokens) == 32 == item.target.shape[1]
    owners, shares = item.target[0].long().tolist(), item.target[1]
    assert owners[0] == 0 and owners[1:] == sorted(owners[1:]) and max(owners) > 3
    assert shares[owners.index(2)] > shares[owners.index(1)] > 0 == shares[0]
    # Scores of a text of one window, and of its padding.
    task.tokenizer.model_max_length = 512
    short = Paper("y", "The king was lost. We show our method.", ())
    logits = torch.full((40,), 50.0)
    tokens = len(task.encode([Paper(short.title, short.text, ("x",))])[0].tokens)
    logits[:tokens] = torch.linspace(0, 1, tokens)
    assert task.summary(short.text, logits) == "We show our method."


def test_the_baseline_has_as_many_words_from_the_beginning() -> None:
    assert lead("One, two's three. Four", 3) == "One, two's three"
    assert lead("One two", 9) == "One two" and lead("One", 0) == ""
