"""The starter for question answering: an encoder that marks where in a text the answer begins and ends."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from transformers import BertForQuestionAnswering

from experiments.evaluation.text_metrics import best, squad
from experiments.starters.encoders.encoder import Size
from experiments.starters.encoders.squad import FAIRYTALES, SQUAD, Question, Windows, read_questions, sample
from experiments.starters.encoders.task import EncoderTask, make_starter, mean_of, opened
from experiments.starters.starter import Figure, StarterEvaluation, StarterRecipe
from experiments.text.batches import EncodedText, TextBatch, outputs
from experiments.training.state import Metrics, StepResult
from tasks.engines.extractive import ExtractiveAnswers
from tasks.segmentation import sentences
from tasks.texts import WORD

TASK = "question-answering"
VALIDATED = 600  # questions after every epoch; asking one takes as long as learning from one


class QuestionTask(EncoderTask):
    """Windows with a question, and all places of all its answers as targets: the network chooses among them."""

    task, name, dataset = TASK, TASK, "squad-40 + fairytaleqa"
    sha256 = "8cacc86d91f99a4d623ef4b257c14a2a8b2b28e31c6063e776658584149d0c41"
    read = staticmethod(read_questions)
    size = Size(layers=6, units=1536, pieces=14_000, window=256)
    recipe = StarterRecipe(epochs=3, batch_size=16, learning_rate=1.2e-4)
    head = BertForQuestionAnswering
    selected_by = "val_f1"
    columns = ("loss", "exact_match", "f1")

    def texts(self) -> list[str]:
        train = self.data.train
        return [*dict.fromkeys(question.context for question in train), *(question.text for question in train)]

    @cached_property
    def windows(self) -> Windows:
        return Windows(self.data.train, self.tokenizer, self.config.seed)

    def items(self, epoch: int) -> list[EncodedText]:
        return self.windows.epoch(epoch)

    def step(self, model: nn.Module, batch: TextBatch) -> StepResult:
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
        scores = [best(squad, answer, question.answers) for answer, question in zip(answers, questions, strict=True)]
        measured = {"loss": loss / len(windows), "accuracy": right / len(windows), **mean_of(scores)}
        said = [
            {"question": one.text, "answers": one.answers, "said": answer, "f1": score["f1"], "from": one.group}
            for one, answer, score in zip(questions, answers, scores, strict=True)
        ]
        return measured, said

    def _answers(self, network: nn.Module, questions: Sequence[Question], accelerator: Accelerator) -> list[str]:
        """What the task would answer with this network."""
        network.eval()
        pipeline = ExtractiveAnswers(network, self.tokenizer, self.size.window)
        with accelerator.autocast():
            found = [pipeline([{"question": one.text, "context": one.context}])[0] for one in questions]
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


def most_common_words(question: Question) -> str:
    """The sentence of the context that shares most words with the question; the first of equals."""
    asked = set(WORD.findall(question.text.lower()))
    found = sentences(question.context)
    return max(found, key=lambda sentence: len(asked & set(WORD.findall(sentence.lower())))).strip()


def evaluate(folder: Path, data_dir: Path) -> StarterEvaluation:
    """Exact match and F1 on the held-out articles and tales, as the task answers, beside the likeliest sentence."""
    task, seconds = opened(TASK, folder)
    test = read_questions(data_dir).test
    figures = []
    for source, what in ((SQUAD, "SQuAD, held-out articles"), (FAIRYTALES, "FairytaleQA test, explicit questions")):
        questions = [one for one in test if one.source == source]
        rows = [{"question": one.text, "context": one.context} for one in questions]
        answers = zip(task.run(rows), questions, strict=True)
        ours = mean_of([best(squad, row["answer"], one.answers) for row, one in answers])
        theirs = mean_of([best(squad, most_common_words(one), one.answers) for one in questions])
        for name, title in (("exact_match", "exact match"), ("f1", "F1")):
            beside = f"the sentence sharing the most words with the question {theirs[name]:.3f}"
            figures.append(Figure(f"{title} on {what} ({len(questions)} questions)", ours[name], beside))
    return StarterEvaluation((*figures, seconds))


STARTER = make_starter(QuestionTask, evaluate)
