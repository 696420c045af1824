"""The starter for question answering: an encoder that marks where in a text the answer begins and ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from transformers import BertForQuestionAnswering

from experiments.config import StarterConfig
from experiments.evaluation import text_metrics
from experiments.starters.corpora import digest
from experiments.starters.encoders.batches import Batch, Item
from experiments.starters.encoders.report import make_family, opened
from experiments.starters.encoders.setup import RECIPES, Lesson, outputs
from experiments.starters.encoders.squad import (
    FAIRYTALES,
    SQUAD,
    TEST_TITLES,
    VAL_TITLES,
    Question,
    Questions,
    read_questions,
    sample,
)
from experiments.starters.encoders.windows import Windows
from experiments.starters.starter import Figure, Judgment, Starter
from experiments.training.family import DataIdentity
from experiments.training.state import Metrics, StepResult
from tasks.engines.extractive import ExtractiveAnswers
from tasks.segmentation import sentences
from tasks.texts import WORD

TASK, NAME = "question-answering", "question-answering"
# What the shipped model was trained on; other questions make another model.
QUESTIONS_SHA256 = "8cacc86d91f99a4d623ef4b257c14a2a8b2b28e31c6063e776658584149d0c41"
VALIDATED = 600  # questions after every epoch; asking one takes as long as learning from one


@dataclass
class QuestionLesson(Lesson):
    """Windows with a question, and all places of all its answers as targets: the network chooses among them."""

    data: Questions
    origin: str
    seed: int

    task, name, dataset = TASK, NAME, "squad-40 + fairytaleqa"
    head = BertForQuestionAnswering
    settings = {}
    selected_by = "val_f1"
    columns = ("loss", "exact_match", "f1")
    example = {
        "question": "When was the lamp lit again?",
        "context": "The old lighthouse had stood dark for thirty years. On Saturday evening its lamp was lit again.",
    }

    def identity(self) -> DataIdentity:
        data = self.data
        everything, held = (_digest(part) for part in (data.train + data.val + data.test, data.val + data.test))
        known = everything == QUESTIONS_SHA256
        return DataIdentity("squad-40-fairytaleqa", self.origin, everything, held, verified=known)

    def texts(self) -> list[str]:
        train = self.data.train
        return [*dict.fromkeys(question.context for question in train), *(question.text for question in train)]

    def __len__(self) -> int:
        return len(self.data.train)

    @cached_property
    def windows(self) -> Windows:
        return Windows(self.data.train, self.tokenizer, self.seed)

    def items(self, epoch: int) -> list[Item]:
        return self.windows.epoch(epoch)

    def step(self, model: nn.Module, batch: Batch) -> StepResult:
        said = model(**batch.inputs)
        loss, right = span_loss(said.start_logits, said.end_logits, batch.target)
        return StepResult(loss.sum(), {"accuracy": right.sum()}, batch.total)

    def measure(self, network: nn.Module, part: str, accelerator: Accelerator) -> tuple[Metrics, list[dict[str, Any]]]:
        """Loss and accuracy of single windows with an answer, exact match and F1 of answers from whole contexts."""
        questions: tuple[Question, ...] = getattr(self.data, part)
        if part == "val":
            questions = sample(questions, VALIDATED)
        windows = Windows([one for one in questions if one.spans], self.tokenizer, seed=0).epoch(0)
        loss, right = 0.0, 0.0
        for _, batch, said in outputs(network, windows, accelerator):
            found = span_loss(said.start_logits, said.end_logits, batch.target)
            loss, right = loss + float(found[0].sum()), right + float(found[1].sum())
        answers = self._answers(network, questions, accelerator)
        scores = [scored(answer, question.answers) for answer, question in zip(answers, questions, strict=True)]
        measured = {"loss": loss / len(windows), "accuracy": right / len(windows), **mean(scores)}
        said = [
            {"question": one.text, "answers": one.answers, "said": answer, "f1": score["f1"], "from": one.group}
            for one, answer, score in zip(questions, answers, scores, strict=True)
        ]
        return measured, said

    def _answers(self, network: nn.Module, questions: Sequence[Question], accelerator: Accelerator) -> list[str]:
        """What the task would answer with this network."""
        window = RECIPES[TASK].size.window
        network.eval()
        pipeline: Any = ExtractiveAnswers(
            model=network,  # type: ignore[arg-type]
            tokenizer=self.tokenizer,
            device=accelerator.device,
            task=TASK,
            window=window,
        )
        with accelerator.autocast():
            found = [pipeline({"question": one.text, "context": one.context}) for one in questions]
        return [one["answers"][0]["answer"] for one in found]


def span_loss(starts: torch.Tensor, ends: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For each window the loss, and whether both ends are right.

    The loss is minus the log-probability of all right places together, mean of start and end (Clark and Gardner 2018,
    arXiv:1710.10723, section 3.2). Padding has no probability, because the sum over tokens leaves it out.

    Args: starts, ends `(batch, length)` logits; target `(batch, 2, length)`, 1 at right places.
    """
    logits = torch.stack([starts, ends], dim=1).float()
    right = logits.masked_fill(target == 0, -torch.inf).logsumexp(dim=2)
    loss = (logits.logsumexp(dim=2) - right).mean(dim=1)
    hit = target.gather(2, logits.detach().argmax(dim=2, keepdim=True)).squeeze(2)
    return loss, (hit > 0).all(dim=1).float()


def scored(answer: str, right: Sequence[str]) -> dict[str, float]:
    """`exact_match` and `f1` beside the right answer that fits best, as SQuAD has it."""
    found = [text_metrics.squad([answer], [one]) for one in right]
    return {name: max(one[name] for one in found) for name in ("exact_match", "f1")}


def mean(scores: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each score."""
    return {name: sum(one[name] for one in scores) / len(scores) for name in scores[0]}


def _digest(questions: Sequence[Question]) -> str:
    return digest(text for one in questions for text in (one.text, one.context, *one.answers))


def read(config: StarterConfig) -> QuestionLesson:
    """The lesson from the data in the configuration's folder."""
    data = read_questions(config.data_dir)
    train = data.train[: config.train_size or None]
    return QuestionLesson(Questions(train, data.val, data.test), f"{config.data_dir}/text", config.seed)


def most_common_words(question: Question) -> str:
    """The sentence of the context that shares most words with the question; the first of equals."""
    asked = set(WORD.findall(question.text.lower()))
    found = sentences(question.context)
    return max(found, key=lambda sentence: len(asked & set(WORD.findall(sentence.lower())))).strip()


def judge(folder: Path, data_dir: Path) -> Judgment:
    """Exact match and F1 on the held-out articles and tales, as the task answers, beside the likeliest sentence."""
    task, seconds = opened(TASK, folder, QuestionLesson.example)
    test = read_questions(data_dir).test
    figures = []
    for source, what in ((SQUAD, "SQuAD, held-out articles"), (FAIRYTALES, "FairytaleQA test, explicit questions")):
        questions = [one for one in test if one.source == source]
        rows = [{"question": one.text, "context": one.context} for one in questions]
        ours = mean([scored(row["answer"], one.answers) for row, one in zip(task.run(rows), questions, strict=True)])
        theirs = mean([scored(most_common_words(one), one.answers) for one in questions])
        for name, value in ours.items():
            beside = f"the sentence with most words of the question {theirs[name]:.3f}"
            title = {"exact_match": "exact match", "f1": "F1"}[name]
            figures.append(Figure(f"{title} on {what} ({len(questions)} questions)", value, beside))
    figures.append(Figure("seconds from loading the model to its first answer", seconds, "must be below 3", 2))
    return Judgment(tuple(figures))


ABOUT = f"""\
## What it is

A BERT that marks where in a text the answer to a question begins and ends, or says that there is none: six layers of \
width 384 and 14,000 word pieces, 16.1 million parameters, matrices stored as float8, one byte a number. Any tool that \
loads a `BertForQuestionAnswering` can use the folder. It is there so that everything works on the first day and \
without a network; for anything that matters choose a larger model.

It begins with [all-MiniLM-L6-v2](https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2) (Apache-2.0), a \
public sentence encoder, with the word pieces that stand in the training texts. Without that beginning the same recipe \
gets much less.

## Data and licenses

- SQuAD 1.1 (Rajpurkar et al. 2016, `rajpurkar/squad`), 40 articles of its development set: CC BY-SA 4.0. Held out for \
testing: {", ".join(TEST_TITLES)}. For validation: {", ".join(VAL_TITLES)}. The other 31 articles train it.
- FairytaleQA (Xu et al. 2022, `uci-soe/FairytaleQAData`): Apache-2.0. Explicit questions, divided into tales for \
training, validation and testing as its authors did; those whose answer does not stand in the text word for word are \
for testing only.

Training: 11,774 questions; validation, which chose the epoch: about 600 of 1,008; test: 1,624, read once. All places \
of all answers that people gave count as right in training.

## What it cannot do

It points at words of the text that it is given; it does not reason, count, compare or answer yes or no, and it knows \
nothing that the text does not say. About two in five questions of held-out articles it does not answer word for word, \
mostly with another name, number or phrase of the right kind. It says well that a text has no answer where the \
text is about something else (to 145 of 150 questions asked of a text from another held-out article), less well where \
it is close (126 of 150 asked of another paragraph of the same article); of 870 questions that have an answer it finds \
none for 11. Answers of more than 30 \
tokens it does not give. It reads 256 tokens at once and long texts in overlapping windows. English only; \
encyclopaedia articles and fairy tales are what it has seen.
"""

STARTER = Starter(
    name=NAME,
    tasks=(TASK,),
    family=make_family(read),
    judge=judge,
    about=ABOUT,
    front={
        "license": "cc-by-sa-4.0",
        "language": "en",
        "library_name": "transformers",
        "pipeline_tag": "question-answering",
        "base_model": "sentence-transformers/all-MiniLM-L6-v2",
        "datasets": ["rajpurkar/squad", "WorkInTheDark/FairytaleQA"],
    },
)
