"""The starter for summarization: an encoder that says of each sentence how much it belongs into a summary.

It writes nothing: its summaries are sentences of the text. `tasks.engines.sentences` takes them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn
from transformers import BertForTokenClassification

from experiments.config import StarterConfig
from experiments.evaluation.text_metrics import rouge
from experiments.starters.corpora import digest
from experiments.starters.encoders.batches import Batch, Item
from experiments.starters.encoders.report import OTHER_TEXTS, make_family, opened
from experiments.starters.encoders.scitldr import Paper, SciTldr, read_scitldr
from experiments.starters.encoders.setup import Lesson, outputs
from experiments.starters.starter import Figure, Judgment, Starter
from experiments.training.family import DataIdentity
from experiments.training.state import Metrics, StepResult
from tasks.engines.sentences import choose, read_part, sentence_scores
from tasks.texts import WORD

TASK, NAME = "summarization", "summarization"
# What the shipped model was trained on; other papers make another model.
PAPERS_SHA256 = "3e8c8a87d23166c95cb3ffbb97d288a686f72be08cca69959206677d8e329e6f"
MAX_TOKENS = 142  # the task's default
# How much better than the others the best sentence has to be for all of the target: smaller is more.
TEMPERATURE = 0.1


@dataclass
class SummaryLesson(Lesson):
    """Abstracts whose sentences shall be chosen as likely as they resemble, by ROUGE, what people wrote."""

    data: SciTldr
    origin: str

    task, name, dataset = TASK, NAME, "scitldr-a"
    head = BertForTokenClassification
    settings = {"num_labels": 1, "id2label": {0: "SUMMARY"}, "label2id": {"SUMMARY": 0}}
    selected_by = "val_rougeL"
    columns = ("loss", "rouge1", "rouge2", "rougeL")
    example = {
        "text": "The old lighthouse had stood dark for thirty years. Last spring a group of neighbors bought it for "
        "the price of a used car, and spent every weekend scraping paint and replacing glass. On Saturday evening, "
        "with half the town on the beach, its lamp was lit again. The group now wants to open the tower to visitors."
    }

    def identity(self) -> DataIdentity:
        data = self.data
        everything, held = (_digest(part) for part in (data.train + data.val + data.test, data.val + data.test))
        return DataIdentity("scitldr-a", self.origin, everything, held, verified=everything == PAPERS_SHA256)

    def texts(self) -> list[str]:
        return [paper.text for paper in self.data.train]

    def __len__(self) -> int:
        return len(self.data.train)

    @cached_property
    def training(self) -> list[Item]:
        return self.encode(self.data.train)

    def items(self, epoch: int) -> list[Item]:  # noqa: ARG002
        return self.training

    def encode(self, papers: Sequence[Paper]) -> list[Item]:
        """Abstracts as the network reads them. Targets `(2, length)`: of each token the number of its sentence (from
        1; 0 has none), and how likely that shall be chosen."""
        items = []
        for paper in papers:
            part = read_part(paper.text, 0, self.tokenizer)
            sentences = [paper.text[start:end] for start, end in part["sentences"]]
            owners = part["owners"][: self.tokenizer.model_max_length]
            wanted = F.pad(wanted_shares(sentences, paper.summaries), (1, 0))
            target = torch.stack([owners.float() + 1, wanted[owners + 1]])
            tokens, kinds = (part["inputs"][name][0].tolist() for name in ("input_ids", "token_type_ids"))
            items.append(Item(tokens[: len(owners)], kinds[: len(owners)], target))
        return items

    def step(self, model: nn.Module, batch: Batch) -> StepResult:
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
        totals = {name: sum(score[name] for score in scores) / len(scores) for name in scores[0]}
        answers = [
            {"title": paper.title, "summaries": paper.summaries, "said": summary, "rougeL": score["rougeL"]}
            for paper, summary, score in zip(papers, summaries, scores, strict=True)
        ]
        return {"loss": loss / len(papers), "accuracy": right / len(papers), **totals}, answers

    def summary(self, text: str, logits: torch.Tensor) -> str:
        """What the task takes from a text of one window, given its tokens' logits (and perhaps those of padding)."""
        part = read_part(text, 0, self.tokenizer)
        known = min(len(part["owners"]), len(logits), self.tokenizer.model_max_length)
        sizes = [len(places) for places in part["tokens"]]
        scores = sentence_scores(logits[:known], part["owners"][:known], len(sizes))
        chosen, _ = choose(scores.tolist(), sizes, MAX_TOKENS, 0)
        return " ".join(text[slice(*part["sentences"][number])] for number in sorted(chosen))


def wanted_shares(sentences: Sequence[str], summaries: Sequence[str]) -> torch.Tensor:
    """How likely each sentence shall be chosen, `(sentences,)`: a softmax over its mean ROUGE-1, -2 and -L."""
    scores = [sum(scored(sentence, summaries).values()) / 3 for sentence in sentences]
    return (torch.tensor(scores) / TEMPERATURE).softmax(dim=0)


def scored(summary: str, right: Sequence[str]) -> dict[str, float]:
    """ROUGE beside the summary with the highest ROUGE-L, as SciTLDR's authors evaluate."""
    return max((rouge([summary], [one]) for one in right), key=lambda score: score["rougeL"])


def choice_loss(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """For each text the cross entropy of the choice of a sentence, and whether the best one got the highest score.

    Args: logits `(batch, length)`; target `(batch, 2, length)`, as `SummaryLesson.encode` makes it, zero for padding.
    """
    logits, owners, wanted = logits.float(), target[:, 0].long(), target[:, 1]
    count = int(owners.max()) + 1
    members = F.one_hot(owners, count)[:, :, 1:].float()
    sizes = members.sum(dim=1)
    scores = torch.einsum("bl,bls->bs", logits, members) / sizes.clamp_min(1)
    scores = scores.masked_fill(sizes == 0, -1e4)
    shares = torch.einsum("bl,bls->bs", wanted, members) / sizes.clamp_min(1)
    loss = -(shares * scores.log_softmax(dim=1)).sum(dim=1)
    return loss, (scores.detach().argmax(dim=1) == shares.argmax(dim=1)).float()


def _digest(papers: Sequence[Paper]) -> str:
    return digest(text for paper in papers for text in (paper.title, paper.text, *paper.summaries))


def read(config: StarterConfig) -> SummaryLesson:
    """The lesson from the data in the configuration's folder."""
    data = read_scitldr(config.data_dir)
    train = data.train[: config.train_size or None]
    return SummaryLesson(SciTldr(train, data.val, data.test), f"{config.data_dir}/text/scitldr")


def lead(text: str, words: int) -> str:
    """The beginning of a text, so many words."""
    found = list(WORD.finditer(text))[:words]
    return text[: found[-1].end()] if found else ""


def judge(folder: Path, data_dir: Path) -> Judgment:
    """ROUGE on the development set of SciTLDR, as the task answers, beside as many words from the beginning."""
    papers = read_scitldr(data_dir).test
    task, seconds = opened(TASK, folder, SummaryLesson.example)
    answers = task.run([{"text": paper.text} for paper in papers])
    ours, theirs = ([], [])
    for answer, paper in zip(answers, papers, strict=True):
        ours.append(scored(answer["summary"], paper.summaries))
        words = len(WORD.findall(answer["summary"]))
        theirs.append(scored(lead(paper.text, words), paper.summaries))
    figures = []
    for name, title in (("rouge1", "ROUGE-1"), ("rouge2", "ROUGE-2"), ("rougeL", "ROUGE-L")):
        value, beside = (sum(score[name] for score in scores) / len(scores) for scores in (ours, theirs))
        what = f"{title} on SciTLDR-A dev ({len(papers)} abstracts)"
        figures.append(Figure(what, value, f"as many words from the beginning {beside:.3f}"))
    share = sum(answer["compression"] for answer in answers) / len(answers)
    figures.append(Figure("words of a summary as a share of the text's", share))
    figures.append(Figure("seconds from loading the model to its first answer", seconds, "must be below 3", 2))
    return Judgment(tuple(figures), _examples(task))


def _examples(task: Any) -> str:
    """Summaries of two texts that are no abstracts, as they come."""
    parts = ["Two texts of other kinds, and what the model takes from them, as it came:"]
    for kind, text in OTHER_TEXTS.items():
        (answer,) = task.run([{"text": text}])
        parts += [f"**{kind}.** {text}", f"> {answer['summary']}"]
    return "\n\n".join(parts)


ABOUT = """\
## What it is

A BERT that scores sentences, so that a summary can be made of the best ones: five layers of width 384 with 512 units \
in their feed-forward parts, 8,000 word pieces, 8.2 million parameters, matrices stored as float8, one byte a number. \
It writes nothing: **its summaries are sentences of the text, word for word**, about a quarter of it and at least one. \
It is a `BertForTokenClassification` with a single label, which any tool can load; the score of a sentence is the mean \
over its tokens. It is there so that everything works on the first day and without a network; a model that writes \
summaries is better.

It begins with [all-MiniLM-L6-v2](https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2) (Apache-2.0), a \
public sentence encoder: this model is a smaller copy of it, trained further.

## Data and licenses

- SciTLDR-A (Cachola et al. 2020, `allenai/scitldr`), abstracts of papers on computer science and what they say in one \
sentence: Apache-2.0. Sentences are wanted the more, the more they resemble that by ROUGE. Training: 1,775 abstracts; \
validation, which chose the epoch: 217, by title; test: the official development set of 619, read once.

## What it cannot do

It cannot put anything in its own words, join two sentences, or explain a name or a pronoun that it takes out of its \
context ("He said that ..."). It was taught on abstracts, where "we propose" and "we show" mark what matters: of news \
it may take a detail and leave out what happened, and of a story, where no single sentence says the rest, some \
sentence near the middle. `num_beams` changes nothing. It reads 512 tokens at once; each such part of a longer text \
gives at least one sentence. English only.
"""

STARTER = Starter(
    name=NAME,
    tasks=(TASK,),
    family=make_family(read),
    judge=judge,
    about=ABOUT,
    front={
        "license": "apache-2.0",
        "language": "en",
        "library_name": "transformers",
        "pipeline_tag": "summarization",
        "base_model": "sentence-transformers/all-MiniLM-L6-v2",
        "datasets": ["allenai/scitldr"],
    },
)
