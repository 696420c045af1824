"""One self-contained HTML page of a report: sentences, tables and figures. Every text in it is escaped."""

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader

from experiments.reports.statistics import SIGNIFICANT, Interval, Pair, by_models, differ

ENVIRONMENT = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
RANKED = (
    "Green: the best and what is not distinguishable from it. Small numbers: 95 % interval. The order of models within "
    "overlapping intervals means nothing."
)
TESTED = (
    "Do two models differ on the same items by more than chance would give? McNemar's exact test where an answer is "
    "right or wrong, else Fisher's randomization test of the differences. Holm's adjustment accounts for the number of "
    "pairs; bold: below 0.05 after it."
)
OVER_SEEDS = " Of several seeds the largest p is shown; bold: every seed differs, in the same direction."


Figures = Sequence[tuple[str, Path]]  # captions and PNG files


class TableCell(NamedTuple):
    """A cell of a table with a small text below it."""

    text: str
    small: str = ""


@dataclass(frozen=True)
class Table:
    """A table; `marks` are `best` (green) or `strong` (bold) by row; in a `wide` one cells hold long texts."""

    head: Sequence[str]
    rows: Sequence[Sequence[str | TableCell]]
    note: str = ""
    marks: Mapping[int, str] = field(default_factory=dict)
    wide: bool = False


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading."""

    title: str
    paragraphs: Sequence[str] = ()
    code: str = ""
    tables: Sequence[Table] = ()
    figures: Figures = ()
    entries: Mapping[str, str] = field(default_factory=dict)
    failed: bool = False


def render(title: str, sections: Sequence[Section], facts: Mapping[str, str], notes: Sequence[str]) -> str:
    """The whole page; `facts` and `notes` tell a reader how they were measured."""
    last = Section("How it was measured", notes, entries=facts)
    return ENVIRONMENT.get_template("page.html").render(title=title, sections=[*sections, last], png=_encoded)


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def failures(title: str, reasons: Mapping[str, str]) -> list[Section]:
    """A section on what failed, by name; none where nothing did."""
    return [Section(title, entries=reasons, failed=True)] if reasons else []


def number(value: Interval, show: Callable[[float], str]) -> str | TableCell:
    """A value with its interval below it."""
    if math.isnan(value.mean):
        return "–"
    return TableCell(show(value.mean), f"{show(value.low)} – {show(value.high)}") if value.known else show(value.mean)


def pairs_table(pairs: Sequence[Pair], items: str, show: Callable[[float], str]) -> Table:
    """Paired tests, the smallest p-value first; of two models with several seeds the least clear one."""
    ordered = sorted(by_models(pairs), key=lambda tests: tests[0].p)
    rows = [
        [
            f"{pair.a} – {pair.b}",
            *([number(pair.difference, show)] if pair.difference else []),
            *(str(pair.a_better), str(pair.b_better), f"{pair.p:.3g}", f"{pair.adjusted_p:.3g}"),
            pair.test if pair.difference else _seeds([pair, *others]),
        ]
        for pair, *others in ordered
    ]
    with_difference = ordered[0][0].difference is not None
    head = ["a – b", *(["a minus b"] if with_difference else []), f"{items} better with a", f"{items} better with b"]
    head += ["p", "p after Holm", "test" if with_difference else "seeds: a better / b better / no difference"]
    marks = {place: "strong" for place, tests in enumerate(ordered) if differ(tests)}
    return Table(head, rows, TESTED + OVER_SEEDS * any(len(tests) > 1 for tests in ordered), marks)


def _seeds(tests: Sequence[Pair]) -> str:
    """With how many seeds the first model, the second one and neither is better."""
    better = [test.a_leads for test in tests if test.adjusted_p < SIGNIFICANT]
    return f"{sum(better)} / {len(better) - sum(better)} / {len(tests) - len(better)}"
