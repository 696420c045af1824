"""The starter for summarization: an encoder that says of each sentence how much it belongs into a summary.

It writes nothing: its summaries are sentences of the text. `tasks.engines.sentences` takes them.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn
from transformers import BertForTokenClassification

from experiments.config import UserError
from experiments.evaluation.tasks import sample_rows
from experiments.evaluation.text_metrics import rouge
from experiments.starters.corpora import Corpus, held_out, text_file
from experiments.starters.encoders.encoder import Size
from experiments.starters.encoders.task import EncoderTask, make_starter, mean_of, opened
from experiments.starters.starter import Figure, StarterEvaluation, StarterRecipe
from experiments.text.batches import EncodedText, TextBatch, outputs
from experiments.training.state import Metrics, StepResult
from tasks.engines.sentences import choose, read_part, sentence_scores
from tasks.json_files import parse_json
from tasks.texts import WORD

TASK = "summarization"
VALIDATION = 0.1
MAX_TOKENS = 142  # the task's default
# How much better than the others the best sentence has to be for all of the target: smaller is more.
TEMPERATURE = 0.1


class Paper(NamedTuple):
    """An abstract, and the summaries that people wrote of it."""

    title: str
    text: str
    summaries: tuple[str, ...]

    @property
    def key(self) -> tuple[str, ...]:
        return (self.title, self.text, *self.summaries)


def read_scitldr(data_dir: str | Path) -> Corpus:
    """The abstracts of `text/scitldr`: validation is a tenth of the training papers, by title, test the official
    development set. Raises UserError."""
    train, test = (_read(text_file(data_dir, f"scitldr/SciTLDR-A/{part}.jsonl")) for part in ("train", "dev"))
    val = tuple(paper for paper in train if held_out(paper.title, VALIDATION, "scitldr"))
    return Corpus(tuple(paper for paper in train if not held_out(paper.title, VALIDATION, "scitldr")), val, test)


def _read(path: Path) -> tuple[Paper, ...]:
    papers = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = parse_json(line)
            text = " ".join(sentence.strip() for sentence in row["source"])
            papers.append(Paper(row["title"].strip(), text, tuple(target.strip() for target in row["target"])))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"line {number} of {path} is not a paper of SciTLDR: {error!r}") from error
    return tuple(papers)


class SummaryTask(EncoderTask):
    """Abstracts whose sentences should be chosen by how much they resemble, in ROUGE, what people wrote."""

    task, name, dataset = TASK, TASK, "scitldr-a"
    sha256 = "3e8c8a87d23166c95cb3ffbb97d288a686f72be08cca69959206677d8e329e6f"
    read = staticmethod(read_scitldr)
    size = Size(layers=5, units=512, pieces=8000, window=512)
    recipe = StarterRecipe(epochs=4, batch_size=16, learning_rate=1e-4)
    head = BertForTokenClassification
    settings = {"num_labels": 1, "id2label": {0: "SUMMARY"}, "label2id": {"SUMMARY": 0}}
    selected_by = "val_rougeL"
    columns = ("loss", "rouge1", "rouge2", "rougeL")

    def texts(self) -> list[str]:
        return [paper.text for paper in self.data.train]

    @cached_property
    def training(self) -> list[EncodedText]:
        return self.encode(self.data.train)

    def items(self, epoch: int) -> list[EncodedText]:  # noqa: ARG002
        return self.training

    def encode(self, papers: Sequence[Paper]) -> list[EncodedText]:
        """Abstracts as the network reads them. Targets `(2, length)`: of each token the number of its sentence (from
        1; 0 has none), and how likely that should be chosen."""
        items = []
        for paper in papers:
            part = read_part(paper.text, 0, self.tokenizer)
            sentences = [paper.text[start:end] for start, end in part["sentences"]]
            owners = part["owners"][: self.tokenizer.model_max_length]
            wanted = F.pad(wanted_fractions(sentences, paper.summaries), (1, 0))
            target = torch.stack([owners.float() + 1, wanted[owners + 1]])
            tokens, kinds = (part["inputs"][name][0].tolist() for name in ("input_ids", "token_type_ids"))
            items.append(EncodedText(tokens[: len(owners)], kinds[: len(owners)], target))
        return items

    def step(self, model: nn.Module, batch: TextBatch) -> StepResult:
        loss, right = choice_loss(model(**batch.inputs).logits[:, :, 0], batch.target)
        return StepResult(loss.sum(), {"accuracy": right.sum()}, batch.total)

    def measure(self, network: nn.Module, part: str, accelerator: Accelerator) -> tuple[Metrics, list[dict[str, Any]]]:
        """Loss, how often the best sentence got the highest score, and ROUGE of the task's summaries."""
        papers: tuple[Paper, ...] = getattr(self.data, part)
        items = self.encode(papers)
        loss, right = 0.0, 0.0
        summaries = [""] * len(papers)
        for places, batch, said in outputs(network, items, accelerator):
            logits = said.logits[:, :, 0].float()
            found = choice_loss(logits, batch.target)
            loss, right = loss + float(found[0].sum()), right + float(found[1].sum())
            for place, row in zip(places, logits.cpu(), strict=True):
                summaries[place] = self.summary(papers[place].text, row)
        scores = [scored(summary, paper.summaries) for summary, paper in zip(summaries, papers, strict=True)]
        answers = [
            {"title": paper.title, "summaries": paper.summaries, "said": summary, "rougeL": score["rougeL"]}
            for paper, summary, score in zip(papers, summaries, scores, strict=True)
        ]
        return {"loss": loss / len(papers), "accuracy": right / len(papers), **mean_of(scores)}, answers

    def summary(self, text: str, logits: torch.Tensor) -> str:
        """What the task takes from a text of one window, given its tokens' logits (and perhaps those of padding)."""
        part = read_part(text, 0, self.tokenizer)
        known = min(len(part["owners"]), len(logits), self.tokenizer.model_max_length)
        sizes = [len(places) for places in part["tokens"]]
        scores = sentence_scores(logits[:known], part["owners"][:known], len(sizes))
        chosen, _ = choose(scores.tolist(), sizes, MAX_TOKENS, 0)
        return " ".join(text[slice(*part["sentences"][number])] for number in sorted(chosen))


def wanted_fractions(sentences: Sequence[str], summaries: Sequence[str]) -> torch.Tensor:
    """How likely each sentence should be chosen, `(sentences,)`: a softmax over its mean ROUGE-1, -2 and -L."""
    scores = [sum(scored(sentence, summaries).values()) / 3 for sentence in sentences]
    return (torch.tensor(scores) / TEMPERATURE).softmax(dim=0)


def scored(summary: str, right: Sequence[str]) -> dict[str, float]:
    """ROUGE beside the summary with the highest ROUGE-L, as SciTLDR's authors evaluate."""
    return max((rouge(summary, one) for one in right), key=lambda score: score["rougeL"])


def choice_loss(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For each text the cross entropy of the choice of a sentence, and whether the best one got the highest score.

    Args: logits `(batch, length)`; target `(batch, 2, length)`, as `SummaryTask.encode` makes it, zero for padding.
    """
    logits, owners, wanted = logits.float(), target[:, 0].long(), target[:, 1]
    count = int(owners.max()) + 1
    members = F.one_hot(owners, count)[:, :, 1:].float()
    sizes = members.sum(dim=1)
    scores = torch.einsum("bl,bls->bs", logits, members) / sizes.clamp_min(1)
    scores = scores.masked_fill(sizes == 0, -1e4)
    fractions = torch.einsum("bl,bls->bs", wanted, members) / sizes.clamp_min(1)
    loss = -(fractions * scores.log_softmax(dim=1)).sum(dim=1)
    return loss, (scores.detach().argmax(dim=1) == fractions.argmax(dim=1)).float()


def lead(text: str, words: int) -> str:
    """The first words of a text."""
    found = list(WORD.finditer(text))[:words]
    return text[: found[-1].end()] if found else ""


def evaluate(folder: Path, data_dir: Path) -> StarterEvaluation:
    """ROUGE on the development set of SciTLDR, as the task answers, beside as many words from the beginning."""
    papers = read_scitldr(data_dir).test
    task, seconds = opened(TASK, folder)
    answers = task.run([{"text": paper.text} for paper in papers])
    ours, theirs = ([], [])
    for answer, paper in zip(answers, papers, strict=True):
        ours.append(scored(answer["summary"], paper.summaries))
        words = len(WORD.findall(answer["summary"]))
        theirs.append(scored(lead(paper.text, words), paper.summaries))
    value, beside = mean_of(ours), mean_of(theirs)
    figures = [
        Figure(
            f"{name.replace('rouge', 'ROUGE-')} on SciTLDR-A dev ({len(papers)} abstracts)",
            value[name],
            f"as many words from the start of the text {beside[name]:.3f}",
        )
        for name in ("rouge1", "rouge2", "rougeL")
    ]
    fraction = sum(answer["compression"] for answer in answers) / len(answers)
    figures.append(Figure("words of a summary as a fraction of the text's", fraction))
    examples = ["Texts of another kind, and the model's summaries, unedited:"]
    for row in sample_rows(TASK)[:2]:
        (answer,) = task.run([{"text": row["text"]}])
        examples += [row["text"], f"> {answer['summary']}"]
    return StarterEvaluation((*figures, seconds), "\n\n".join(examples))


STARTER = make_starter(SummaryTask, evaluate)
