"""SciTLDR: abstracts of papers on computer science, and what they say in one sentence."""

from dataclasses import dataclass
from pathlib import Path

from experiments.config import UserError
from experiments.starters.corpora import held_out, text_file
from tasks.json_files import parse_json

FOLDER = "scitldr"
VALIDATION = 0.1


@dataclass(frozen=True)
class Paper:
    """An abstract, and the summaries that people wrote of it."""

    title: str
    text: str
    summaries: tuple[str, ...]


@dataclass(frozen=True)
class SciTldr:
    """The papers by use; `test` is the official development set, which nothing else looks at."""

    train: tuple[Paper, ...]
    val: tuple[Paper, ...]
    test: tuple[Paper, ...]


def read_scitldr(data_dir: str | Path) -> SciTldr:
    """The data of `text/scitldr`; validation is a tenth of the training papers, by title. Raises UserError."""
    train, test = (_read(text_file(data_dir, FOLDER, f"SciTLDR-A/{part}.jsonl")) for part in ("train", "dev"))
    val = tuple(paper for paper in train if held_out(paper.title, VALIDATION, FOLDER))
    return SciTldr(tuple(paper for paper in train if not held_out(paper.title, VALIDATION, FOLDER)), val, test)


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
