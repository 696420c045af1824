"""The parts of a comparison's page and its table for a terminal: leaderboard, paired tests, figures."""

import math
from functools import partial

from experiments.comparison.results import Findings, Row, shown
from experiments.reports.page import RANKED, Figures, Section, Table, number, pairs_table
from experiments.reports.statistics import leading
from experiments.reports.tables import to_text

TITLES = {
    "f1": "F1",
    "ece": "ECE",
    "examples_per_second": "examples/s",
    "precision": "precision (macro)",
    "recall": "recall (macro)",
}
# Too much for the width of a terminal; the page has them.
LEFT_OUT = {"precision", "recall"}


def sections(findings: Findings, figures: Figures) -> list[Section]:
    """What the page says about one data set."""
    name = findings.dataset
    tables = [_leaderboard(findings), *(extra.page for extra in findings.extra.values())]
    parts = [Section(name, findings.analysis, tables=tables)]
    if findings.pairs:
        parts.append(Section(f"{name}: paired tests", tables=[pairs_table(findings.pairs, "items", str)]))
    return [*parts, Section(f"{name}: figures", figures=figures)]


def title(metric: str) -> str:
    """What the head of a column says."""
    return TITLES.get(metric, metric.replace("_", " "))


def _leaderboard(findings: Findings) -> Table:
    rows, metrics = findings.rows, findings.metrics
    best, tied, _ = leading({row.model: row.values[metrics[0]] for row in rows})
    cells = [
        [
            row.model,
            str(len(row.seeds)),
            *(number(row.values[metric], partial(shown, metric)) for metric in metrics),
            *_costs(row),
        ]
        for row in rows
    ]
    head = ["model", "seeds", *map(title, metrics), "parameters", "MFLOPs/image"][: len(cells[0])]
    marks = {place: "best" for place, row in enumerate(rows) if row.model in (best, *tied)}
    return Table(head, cells, RANKED, marks)


def _costs(row: Row) -> list[str]:
    return [f"{row.parameters:,}", *([] if row.flops is None else [f"{row.flops / 1e6:,.1f}"])]


def text_table(findings: Findings) -> list[str]:
    """The leaderboard for a terminal."""
    main = findings.metrics[0]
    _, tied, _ = leading({row.model: row.values[main] for row in findings.rows})
    lines = []
    for row in findings.rows:
        line = {"": f"{'= ' if row.model in tied else '  '}{row.model}"}
        line[title(main)] = row.values[main].format(partial(shown, main))
        for metric in findings.metrics[1:]:
            if metric not in LEFT_OUT and any(not math.isnan(one.values[metric].mean) for one in findings.rows):
                line[title(metric)] = shown(metric, row.values[metric].mean)
        lines.append(line | dict(zip(("parameters", "MFLOPs"), _costs(row), strict=False)))
    head = f"{findings.dataset}, test data; = is not distinguishable from the best (intervals overlap)"
    return [head, to_text(lines)]
