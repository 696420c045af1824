"""What a comparison of registered models says: sentences, the page, and a table for a terminal."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from experiments.evaluation.leaderboard import Leaderboard, ModelRow, rows_needed, shown
from experiments.reports.page import RANKED, Figures, Section, Table, TableCell, failures, number, pairs_table, render
from experiments.reports.tables import to_text
from experiments.reports.text import count, differences, ranking
from tasks.metrics import lower_is_better

FEW_ROWS = 100
ROWS_SHOWN = 100
TEXT_SHOWN = 300
NOTES = (
    "All models got the same rows with the same settings, one model after the other, each unloaded before the next.",
    "Intervals are 95 % intervals over rows: Wilson's for accuracies, otherwise the bootstrap with a fixed seed, "
    "widened for few rows. They cover other rows of the same kind, not rows of other kinds.",
    "Latency: median and 95th percentile of single requests after a warm-up request, on this machine with the load "
    "that it had; the small numbers are the 95 % interval of the median by order statistics.",
    "tokens/s: tokens in the results of these requests (read by models that classify, written by those that generate) "
    "divided by their seconds.",
    "Memory: bytes of the weights; growth: the largest growth of the process while the model was loaded and answered "
    "the single requests. Loading: a second time, with libraries and files already in memory.",
    "A model may have seen the rows, or similar ones, in its training: no number here shows that.",
)


def analyze(leaderboard: Leaderboard) -> list[str]:
    """What tables do not say at a glance, in paragraphs."""
    metric = leaderboard.metrics[0]
    where = f"{words(metric)} on {count(leaderboard.size, 'row')} of {leaderboard.plan.data.name}"
    values = {row.name: row.quality[metric] for row in leaderboard.rows}
    texts = [ranking(where, values, partial(shown, metric), lower_is_better(metric))]
    if leaderboard.pairs:
        texts.append(differences(leaderboard.pairs, "rows"))
        needed = rows_needed(len(leaderboard.pairs))
        if leaderboard.size < FEW_ROWS:
            found = "cannot find any difference" if leaderboard.size < needed else "find only large differences"
            rows = count(leaderboard.size, "row")
            texts.append(f"{rows} {found}: one model must do better on at least {needed}, and worse on none.")
    return texts


def page(leaderboard: Leaderboard, analysis: Sequence[str], facts: Mapping[str, str], figures: Figures) -> str:
    """The whole page."""
    metric = leaderboard.metrics[0]
    sections = [Section("Leaderboard", analysis, tables=[_leaderboard(leaderboard)])]
    sections += failures("Models that could not be evaluated", leaderboard.failures)
    if leaderboard.pairs:
        tests = pairs_table(leaderboard.pairs, "rows", partial(shown, metric))
        sections.append(Section(f"Paired tests of {words(metric)}", tables=[tests]))
    sections += [Section("Figures", figures=figures), Section("Row by row", tables=[_answers(leaderboard)])]
    return render(f"Comparison: {leaderboard.plan.title}", sections, facts, NOTES)


def _leaderboard(leaderboard: Leaderboard) -> Table:
    rows = []
    for row in leaderboard.rows:
        quality = [number(row.quality[metric], partial(shown, metric)) for metric in leaderboard.metrics]
        latency, *others = _costs(row).values()
        span = number(row.latency, _milliseconds)
        small = f"{span.small}, " if isinstance(span, TableCell) else ""
        rows.append([row.name, *quality, TableCell(latency, f"{small}n={len(row.measured.seconds)}"), *others])
    head = ["model", *map(words, leaderboard.metrics), *_costs(leaderboard.rows[0])]
    marks = {place: "best" for place, row in enumerate(leaderboard.rows) if place == 0 or row.name in leaderboard.tied}
    return Table(head, rows, RANKED, marks)


def words(metric: str) -> str:
    """A metric's name as it is shown."""
    return metric.replace("_", " ")


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.3g}" if seconds < 1 else f"{1000 * seconds:,.0f}"


def _costs(row: ModelRow) -> dict[str, str]:
    costs = row.measured.costs

    def text(name: str, digits: int, unit: float = 1) -> str:
        value = costs[name]
        return "–" if value is None else f"{value / unit:,.{digits}f}"

    return {
        "latency ms": _milliseconds(row.latency.mean),
        "p95 ms": _milliseconds(costs["latency_p95_seconds"]),
        "tokens/s": text("tokens_per_second", 0),
        "MB": text("memory_bytes", 1, 1e6),
        "growth MB": text("peak_growth_bytes", 1, 1e6),
        "load s": text("load_seconds", 2),
    }


def _answers(leaderboard: Leaderboard) -> Table:
    """What each model said to each row, the first rows only."""
    task_metrics, metric = leaderboard.plan.metrics, leaderboard.metrics[0]
    rows = []
    for place, given in enumerate(leaderboard.plan.data.rows[:ROWS_SHOWN]):
        cells: list[str | TableCell] = [_cut(given[column]) for column in task_metrics.columns]
        for row in leaderboard.rows:
            found = row.measured.evaluation
            said = _cut(found.answers[place]) if found.answers else ""
            cells.append(TableCell(said, f"{words(metric)} {found.scores[metric].values[place]:.3g}"))
        rows.append([str(place + 1), *cells])
    head = ["row", *task_metrics.columns, *(row.name for row in leaderboard.rows)]
    note = f"At most {ROWS_SHOWN} of {leaderboard.size:,} rows; long texts are cut. All of it is in answers.csv."
    return Table(head, rows, note, wide=True)


def _cut(value: object) -> str:
    text = value.name if isinstance(value, Path) else str(value)
    return text if len(text) <= TEXT_SHOWN else text[:TEXT_SHOWN] + "…"


def text_table(leaderboard: Leaderboard) -> list[str]:
    """The leaderboard for a terminal."""
    main, *others = leaderboard.metrics
    lines = []
    for row in leaderboard.rows:
        line = {"": f"{'= ' if row.name in leaderboard.tied else '  '}{row.name}"}
        line[words(main)] = row.quality[main].format(partial(shown, main))
        line |= {words(metric): shown(metric, row.quality[metric].mean) for metric in others}
        lines.append(line | _costs(row))
    counts = sorted({len(row.measured.seconds) for row in leaderboard.rows})
    return [
        f"{leaderboard.plan.title} ({leaderboard.size:,} rows); = is not distinguishable from the best "
        "(intervals overlap)",
        to_text(lines),
        f"latency: median of {' to '.join(map(str, counts))} single requests",
    ]
