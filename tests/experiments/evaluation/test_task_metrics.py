"""Metrics of tasks on labeled rows, held to their papers and to the models' own losses."""

import math
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from experiments.evaluation import text_metrics
from experiments.evaluation.tasks import TASK_METRICS, NoMetricError, evaluate, sample_rows
from tests.support import tiny_models
from tests.support.registering import TINY, Folders


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A function that gives the folder of a tiny model by its name; it is not to be changed."""
    return cache(lambda name: tiny_models.save(name, tmp_path_factory.mktemp("tiny") / f"tiny-{name}"))


def test_squad_counts_words_not_case_articles_or_punctuation() -> None:
    assert text_metrics.squad("The  Red house!", "a red house") == {"exact_match": 1.0, "f1": 1.0}
    # Two of three words are right, and two of two are found: precision 2/3, recall 1.
    assert text_metrics.squad("red house there", "red house") == {"exact_match": 0.0, "f1": pytest.approx(0.8)}
    said = [text_metrics.squad(*pair) for pair in (("", ""), ("x", ""), ("", "x"))]
    assert said == [{"exact_match": value, "f1": value} for value in (1.0, 0.0, 0.0)]


def test_rouge_is_the_overlap_of_words_pairs_and_order() -> None:
    same = "the cat sat on the mat"
    assert set(text_metrics.rouge(same, same.upper()).values()) == {1.0}
    assert set(text_metrics.rouge("one two", "three four").values()) == {0.0}
    # Lin 2004, section 3: of "police killed the gunman", "the gunman kill police" keeps two words in order.
    scores = text_metrics.rouge("the gunman kill police", "police killed the gunman")
    assert scores == {"rouge1": 0.75, "rouge2": pytest.approx(1 / 3), "rougeL": 0.5}
    assert text_metrics.longest_common_subsequence("abcde", "xaxcxe") == 3


def test_accuracy_and_f1_are_over_the_classes_that_occur() -> None:
    scores = text_metrics.accuracy_and_f1(["p", "p", "neutral", "n"], ["p", "n", "n", "n"])
    assert scores == {"accuracy": 0.5, "f1": pytest.approx((2 / 3 + 1 / 2) / 2)}


@pytest.mark.parametrize("task", [task for task in TASK_METRICS if sample_rows(task)])
def test_samples_fit_their_task_and_give_its_metrics(task: str, tiny: Folders, tmp_path: Path) -> None:
    rows = sample_rows(task)
    assert 6 <= len(rows) <= 10 and all(set(row) == set(TASK_METRICS[task].columns) for row in rows)
    assert all(row["text"].strip() for row in rows if "text" in row)
    assert all(row["answer"] in row["context"] for row in rows if "context" in row)
    folder = Path(shutil.copytree(tiny(TINY[task]), tmp_path / "model"))
    parameters = {"max_length": 10, "num_beams": 1} if task == "summarization" else {}
    scores = evaluate(tiny_models.opened(folder, task), rows, parameters)
    assert scores["examples"] == len(rows) and TASK_METRICS[task].headline in scores
    assert all(value >= 0 for value in scores.values())


@pytest.mark.parametrize("model", ["gpt2", "llama"])
def test_perplexity_is_that_of_the_model_s_own_loss(model: str, tiny: Folders, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny(model), tmp_path / "model"))
    task: Any = tiny_models.opened(folder, "story-completion")
    text = "Once upon a time there was a cat"
    # As its tokenizer makes them: of the two only Llama's begins with a token for the beginning.
    tokens = task.engine.tokenizer(text)["input_ids"]
    assert (tokens[0] == task.engine.tokenizer.bos_token_id) == (model == "llama")
    loss = float(task.engine.model(input_ids=torch.tensor([tokens]), labels=torch.tensor([tokens])).loss.detach())
    scores = evaluate(task, [{"text": text}])
    assert scores["perplexity"] == pytest.approx(math.exp(loss), rel=1e-4)
    # Per byte of what is predicted.
    read = "" if model == "llama" else task.engine.tokenizer.decode(tokens[:1])
    size = len(text.removeprefix(read).encode())
    assert scores["bits_per_byte"] == pytest.approx(loss * (len(tokens) - 1) / math.log(2) / size, rel=1e-4)
    long = evaluate(task, [{"text": text * 20}])  # several windows
    assert 1 < long["perplexity"] < 1e6
    # A line that the model has learned surprises it less than one of the same letters in another order.
    learned, shuffled = (evaluate(task, [{"text": line}])["bits_per_byte"] for line in (text, text[::-1]))
    assert learned < shuffled


def test_what_cannot_be_measured_says_why(tiny: Folders, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny("distilbert-sentiment"), tmp_path / "model"))
    task = tiny_models.opened(folder, "sentiment-analysis")
    with pytest.raises(NoMetricError, match="the model's classes are label_0, label_1, the labels of the rows n"):
        evaluate(task, sample_rows("sentiment-analysis"))
    for rows in ([], [{"text": "no label"}]):
        with pytest.raises(NoMetricError, match="have columns text, label"):
            evaluate(task, rows)
    assert sample_rows("chatbot") == []
