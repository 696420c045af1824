"""The page of evaluated models, and their table for a terminal."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from experiments.evaluation.analysis import NOTES
from experiments.evaluation.leaderboard import Leaderboard, Row, shown
from experiments.reports.page import RANKED, Cell, Figures, Section, Table, failures, number, pairs_table, render
from experiments.reports.tables import to_text

ROWS_SHOWN = 100
TEXT_SHOWN = 300


def page(board: Leaderboard, analysis: Sequence[str], facts: Mapping[str, str], figures: Figures) -> str:
    """The whole page."""
    metric = board.metrics[0]
    sections = [Section("Leaderboard", analysis, tables=[_leaderboard(board)])]
    sections += failures("Models that could not be evaluated", board.failures)
    if board.pairs:
        tests = pairs_table(board.pairs, "rows", partial(shown, metric))
        sections.append(Section(f"Paired tests of {metric.replace('_', ' ')}", tables=[tests]))
    sections += [Section("Figures", figures=figures), Section("Row by row", tables=[_answers(board)])]
    return render(f"Comparison: {board.plan.title}", sections, facts, NOTES)


def _leaderboard(board: Leaderboard) -> Table:
    rows = []
    for row in board.rows:
        quality = [number(row.quality[metric], partial(shown, metric)) for metric in board.metrics]
        latency, *others = _costs(row).values()
        span = number(row.latency, _milliseconds)
        small = f"{span.small}, " if isinstance(span, Cell) else ""
        rows.append([row.name, *quality, Cell(latency, f"{small}n={len(row.measured.seconds)}"), *others])
    head = ["model", *(metric.replace("_", " ") for metric in board.metrics), *_costs(board.rows[0])]
    marks = {place: "best" for place, row in enumerate(board.rows) if place == 0 or row.name in board.tied}
    return Table(head, rows, RANKED, marks)


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.3g}" if seconds < 1 else f"{1000 * seconds:,.0f}"


def _costs(row: Row) -> dict[str, str]:
    measured = row.measured
    speed, growth = measured.tokens_per_second, measured.peak_growth
    return {
        "latency ms": _milliseconds(measured.latency),
        "p95 ms": _milliseconds(measured.slow_latency),
        "tokens/s": "–" if speed is None else f"{speed:,.0f}",
        "MB": f"{measured.memory_bytes / 1e6:,.1f}",
        "growth MB": "–" if growth is None else f"{growth / 1e6:,.1f}",
        "load s": f"{measured.load_seconds:.2f}",
    }


def _answers(board: Leaderboard) -> Table:
    """What each model said to each row, the first rows only."""
    judge, metric = board.plan.judge, board.metrics[0]
    rows = []
    for place, given in enumerate(board.plan.data.rows[:ROWS_SHOWN]):
        cells: list[str | Cell] = [_cut(given[column]) for column in judge.columns]
        for row in board.rows:
            found = row.measured.evaluation
            said = _cut(found.answers[place]) if found.answers else ""
            cells.append(Cell(said, f"{metric.replace('_', ' ')} {found.scores[metric].values[place]:.3g}"))
        rows.append([str(place + 1), *cells])
    head = ["row", *judge.columns, *(row.name for row in board.rows)]
    note = f"At most {ROWS_SHOWN} of {board.size:,} rows; long texts are cut. All of it is in answers.csv."
    return Table(head, rows, note, wide=True)


def _cut(value: object) -> str:
    text = value.name if isinstance(value, Path) else str(value)
    return text if len(text) <= TEXT_SHOWN else text[:TEXT_SHOWN] + "…"


def text_table(board: Leaderboard) -> list[str]:
    """The leaderboard for a terminal."""
    main, *others = board.metrics
    lines = []
    for row in board.rows:
        line = {"": f"{'= ' if row.name in board.tied else '  '}{row.name}"}
        line[main.replace("_", " ")] = row.quality[main].format(partial(shown, main))
        line |= {metric.replace("_", " "): shown(metric, row.quality[metric].mean) for metric in others}
        lines.append(line | _costs(row))
    counts = sorted({len(row.measured.seconds) for row in board.rows})
    return [
        f"{board.plan.title} ({board.size:,} rows); = is not distinguishable from the best (intervals overlap)",
        to_text(lines),
        f"latency: median of {' to '.join(map(str, counts))} single requests",
    ]
