"""The recipe for question answering: questions read and divided by title, windows, the loss, a tiny training."""

import csv
import json
import math
import random
from pathlib import Path

import pytest
import torch

from experiments.config import UserError
from experiments.starters.encoders import squad
from experiments.starters.encoders.encoder import Size
from experiments.starters.encoders.questions import STARTER, QuestionTask, most_common_words, span_loss
from experiments.starters.encoders.squad import (
    TEST_TITLES,
    VAL_TITLES,
    Question,
    Windows,
    read_questions,
    sample,
    token_span,
)
from tasks.hub.checks import check_folder
from tests.support.tiny_encoder import WORDS, shrink_recipe, tokenizer, trained

PEOPLE, THINGS, PLACES = ("king", "queen", "cat", "dog"), ("lamp", "house", "story", "paper"), ("sea", "river", "town")


def write_questions(data_dir: Path, articles: int = 12, seed: int = 0) -> Path:
    """Articles and tales in which somebody found something somewhere, and who it was is asked."""
    rng = random.Random(seed)

    def made(question: str) -> tuple[str, str, str]:
        deeds = [(rng.choice(PEOPLE), rng.choice(THINGS), rng.choice(PLACES)) for _ in range(2)]
        text = " ".join(f"The {who} found the {what} in the {where}." for who, what, where in deeds)
        who, what, where = deeds[rng.randint(0, 1)]
        return text, question.format(what=what, where=where), f"the {who}"

    titles = [*TEST_TITLES[:2], VAL_TITLES[0], *(f"Article_{number}" for number in range(articles))]
    data = []
    for title in titles:
        paragraphs = []
        for number in range(6):
            text, question, answer = made("Who found the {what} in the {where}?")
            answers = [{"text": answer, "answer_start": 0}, {"text": answer[4:], "answer_start": 4}]
            paragraphs.append({"context": text, "qas": [{"id": str(number), "question": question, "answers": answers}]})
        data.append({"title": title, "paragraphs": paragraphs})
    folder = data_dir / "text" / "squad"
    folder.mkdir(parents=True)
    (folder / "squad-40-articles.json").write_text(json.dumps({"version": "1.1", "data": data}))
    for part in ("train", "val", "test"):
        write_tale(data_dir, part, f"tale-{part}", [made("Who found the {what}?") for _ in range(4)])
    return data_dir


def write_tale(data_dir: Path, part: str, name: str, made: list[tuple[str, str, str]]) -> None:
    folder = data_dir / "text" / "fairytaleqa" / "data-by-train-split"
    for kind in ("questions", "section-stories"):
        (folder / kind / part).mkdir(parents=True, exist_ok=True)
    with (folder / "section-stories" / part / f"{name}-story.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("section", "text"), *((n, text) for n, (text, *_) in enumerate(made, 1))])
    with (folder / "questions" / part / f"{name}-questions.csv").open("w", newline="") as file:
        explicit = enumerate(((question, "explicit", answer, answer.upper()) for _, question, answer in made), 1)
        rows = [(str(number), *row) for number, row in explicit]
        rows.append(("1", "Why?", "implicit", "nobody knows", ""))
        rows.append(("1, 2", "What else?", "explicit", "what nobody has written", ""))
        header = ("cor_section", "question", "ex-or-im1", "answer1", "answer4")
        csv.writer(file).writerows([header, *rows])


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink_recipe(monkeypatch, QuestionTask, Size(layers=2, units=32, pieces=160, window=64), epochs=12)
    monkeypatch.setattr(squad, "SHORTEST", 30)
    monkeypatch.setattr(squad, "LONGEST", 50)


def test_a_training_ends_in_a_folder_that_the_task_takes(store: Path) -> None:
    data_dir, folder = write_questions(store / "data"), store / "out"
    result, task, said = trained("question-answering", data_dir, folder)
    assert result.columns == ("loss", "exact_match", "f1")
    # It has learned at least that people are asked for.
    assert result.metrics["test_f1"] > 0.35
    check_folder(folder)
    [answer] = task.run([{"question": "Who found the lamp?", "context": "The old king found the lamp in the sea."}])
    assert set(answer["answer"].lower().split()) <= set(WORDS) and 0 < answer["score"] <= 1
    assert sum(one["f1"] for one in said) / len(said) == pytest.approx(result.metrics["test_f1"])
    figures = {figure.name: figure for figure in STARTER.evaluate(folder, data_dir).figures}
    squad, tales = (
        figures[f"F1 on {name}"]
        for name in ("SQuAD, held-out articles (12 questions)", "FairytaleQA test, explicit questions (5 questions)")
    )
    assert (squad.value * 12 + tales.value * 5) / 17 == pytest.approx(result.metrics["test_f1"], abs=1e-4)
    assert squad.beside.startswith("the sentence sharing the most words with the question 0.")


def test_questions_are_divided_by_title(tmp_path: Path) -> None:
    data = read_questions(write_questions(tmp_path))
    groups = [{question.group for question in part} for part in (data.train, data.val, data.test)]
    assert groups[1] == {VAL_TITLES[0], "tale-val"} and groups[2] == {*TEST_TITLES[:2], "tale-test"}
    assert groups[0] == {"tale-train", *(f"Article_{number}" for number in range(12))}
    assert len(TEST_TITLES) == 6 and len(VAL_TITLES) == 3
    # Explicit questions without their answer in the text are for testing only; implicit ones are left out.
    assert [question.text for question in data.test].count("What else?") == 1
    asked = {question.text for question in (*data.train, *data.val)}
    assert not asked & {"What else?", "Why?"} and all(question.spans for question in data.train)
    (both,) = (question for question in data.test if question.text == "What else?")
    assert both.context.count("\n") == 1 and both.answers == ("what nobody has written",)


def test_answers_are_found_as_whole_words_wherever_they_stand() -> None:
    question = Question("?", "A cat.  The\nCat sat; concatenate THE CAT", ("the cat.", "sat", "dog", " "), "", "")
    assert [question.context[slice(*span)] for span in question.spans] == ["The\nCat", "sat", "THE CAT"]
    long = " ".join(["word"] * 30)
    assert Question("?", long, (long,), "", "").spans == []


def test_damaged_and_missing_data_are_named(tmp_path: Path) -> None:
    write_questions(tmp_path)
    story = next((tmp_path / "text" / "fairytaleqa").rglob("tale-train-story.csv"))
    story.write_text("section,text\n1,One.\n")
    with pytest.raises(UserError, match=r"tale-train-questions\.csv and .* are not files of FairytaleQA: KeyError"):
        read_questions(tmp_path)
    file = tmp_path / "text" / "squad" / "squad-40-articles.json"
    file.write_text('{"data": [{"title": "x"}]}')
    with pytest.raises(UserError, match=r"is not a file of SQuAD 1\.1"):
        read_questions(tmp_path)
    file.unlink()
    with pytest.raises(UserError, match="does not exist"):
        read_questions(tmp_path)


def test_a_sample_is_the_same_everywhere() -> None:
    questions = tuple(Question(f"Who is number {n}?", "", (), "", "") for n in range(1000))
    chosen = sample(questions, 100)
    assert 60 < len(chosen) < 140 and sample(questions, 100) == chosen and sample(questions, 5000) == questions


def many_questions() -> list[Question]:
    rng = random.Random(1)
    contexts = {name: " ".join(rng.choices(WORDS, k=80)) for name in ("a", "b", "c")}
    found = [
        Question("who found it ?", text, (" ".join(text.split()[place : place + 3]),), "", "group")
        for text in contexts.values()
        for place in (0, 20, 77)
    ]
    return found * 20


def test_windows_mark_the_answers_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squad, "NOTHING", 0.0)
    words, questions = tokenizer(), many_questions()
    found = Windows(questions, words, seed=0)
    assert len(found) == len(questions)
    places = set()
    for question, item in zip(questions, found.epoch(1), strict=True):
        starts, ends = (row.nonzero()[:, 0].tolist() for row in item.target)
        assert len(starts) == len(ends) >= 1 and len(item.tokens) <= 50 and len(item.tokens) == len(item.kinds)
        for start, end in zip(starts, ends, strict=True):
            assert words.decode(item.tokens[start : end + 1]) == question.answers[0]
            assert item.kinds[start] == item.kinds[end] == 1
        names = words.convert_ids_to_tokens(item.tokens)
        assert names[:6] == ["[CLS]", "who", "found", "it", "?", "[SEP]"] and names[-1] == "[SEP]"
        assert item.kinds[:6] == [0] * 6 and set(item.kinds[6:]) == {1}
        places.add(starts[0])
    assert len(places) > 20  # answers stand anywhere


def test_windows_without_the_answer_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squad, "NOTHING", 1.0)
    questions = many_questions()
    items = Windows(questions, tokenizer(), seed=0).epoch(1)
    nothing = [item for item in items if item.target[:, 0].all()]
    assert len(items) / 2 < len(nothing) < len(items)  # the context drawn may be the question's own
    assert all(item.target.sum() == 2 for item in nothing)
    for question, item in zip(questions, items, strict=True):
        text = tokenizer().decode(item.tokens)
        assert item.target[0, 0] == 0 or question.answers[0] not in text


def test_the_windows_of_an_epoch_are_a_function_of_seed_and_number() -> None:
    questions, words = many_questions(), tokenizer()

    def tokens(seed: int, epoch: int) -> list[list[int]]:
        return [list(item.tokens) for item in Windows(questions, words, seed).epoch(epoch)]

    assert tokens(0, 1) == tokens(0, 1) and tokens(0, 1) != tokens(0, 2) and tokens(0, 1) != tokens(1, 1)


def test_characters_are_found_among_tokens() -> None:
    offsets = [(0, 3), (4, 6), (6, 9), (9, 10), (12, 15)]
    assert token_span(offsets, 0, 3) == (0, 0)
    assert token_span(offsets, 4, 9) == (1, 2)
    assert token_span(offsets, 5, 13) == (1, 4)


def test_the_loss_leaves_the_choice_among_right_places() -> None:
    starts, ends = torch.tensor([[0.0, math.log(2), math.log(5)]]), torch.tensor([[math.log(3), 0.0, 0.0]])
    target = torch.tensor([[[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]]])
    loss, right = span_loss(starts, ends, target)
    assert loss.item() == pytest.approx(-(math.log(7 / 8) + math.log(1 / 5)) / 2)
    assert right.tolist() == [0]
    assert span_loss(starts, ends.flip(1), target)[1].tolist() == [1]


def test_the_baseline_is_the_sentence_with_most_words_of_the_question() -> None:
    question = Question("Where did the king lose the lamp?", "The cat ate. The king has a lamp. A lamp!", (), "", "")
    assert most_common_words(question) == "The king has a lamp."
