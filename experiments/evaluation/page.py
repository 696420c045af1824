"""One self-contained HTML page of judged models. Whatever people or models wrote is escaped."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from experiments.comparison.page import document, how, picture, table
from experiments.comparison.results import Interval
from experiments.evaluation.analysis import NOTES, megabytes, seconds
from experiments.evaluation.leaderboard import Board, Line, shown

ROWS_SHOWN = 100
TEXT_SHOWN = 300
SIGNIFICANT = 0.05
COSTS = ("latency", "95th percentile", "tokens/s", "memory", "growth", "loading")


def page(board: Board, analysis: Sequence[str], facts: Mapping[str, str], figures: Sequence[tuple[str, bytes]]) -> str:
    """The whole page; `figures` are (caption, PNG)."""
    title = f"Comparison: {board.plan.title}"
    body = [f"<h1>{escape(title)}</h1>", *(f"<p>{escape(text)}</p>" for text in analysis), _leaderboard(board)]
    body.append(
        '<p class="soft">Green: the best and what is not distinguishable from it. Small numbers: 95 % interval. The '
        "order of models within overlapping intervals means nothing.</p>"
    )
    if board.failures:
        items = "".join(f"<li><b>{escape(name)}</b>: {escape(why)}</li>" for name, why in board.failures.items())
        body.append(f'<h2 class="failed">Models that could not be judged</h2><ul class="failed">{items}</ul>')
    if board.pairs:
        body += ["<h2>Paired tests</h2>", _pairs(board)]
    body += ["<h2>Figures</h2>", *(picture(caption, png) for caption, png in figures)]
    body += ["<h2>Row by row</h2>", _answers(board)]
    return document(title, body + how(facts, NOTES))


def _leaderboard(board: Board) -> str:
    head = ["model", *(metric.replace("_", " ") for metric in board.metrics), *COSTS]
    best = [board.lines[0], *board.tied]
    rows = []
    for line in board.lines:
        cells = [f"<td>{_value(metric, line.quality[metric])}</td>" for metric in board.metrics]
        cells += [f"<td>{cell}</td>" for cell in _costs(line)]
        mark = ' class="best"' if line in best else ""
        rows.append(f"<tr{mark}><td>{escape(line.name)}</td>{''.join(cells)}</tr>")
    return table(head, rows)


def _value(metric: str, value: Interval) -> str:
    text = shown(metric, value.mean)
    if not value.known:
        return text
    return f"{text}<small>{shown(metric, value.low)} – {shown(metric, value.high)}</small>"


def _costs(line: Line) -> list[str]:
    judged, latency = line.judged, line.latency
    span = f"{seconds(latency.low)} – {seconds(latency.high)}, " if latency.known else ""
    return [
        f"{seconds(latency.mean)}<small>{span}n={len(judged.seconds)}</small>",
        seconds(judged.slow_latency),
        "–" if judged.tokens_per_second is None else f"{judged.tokens_per_second:,.0f}",
        megabytes(judged.memory_bytes),
        "–" if judged.peak_growth is None else megabytes(judged.peak_growth),
        seconds(judged.load_seconds),
    ]


def _pairs(board: Board) -> str:
    metric = board.metrics[0]
    lines = []
    for pair in sorted(board.pairs, key=lambda pair: pair.p):
        mark = ' class="strong"' if pair.adjusted_p < SIGNIFICANT else ""
        cells = "".join(
            f"<td>{cell}</td>"
            for cell in (_value(metric, pair.difference), pair.a_rows, pair.b_rows, f"{pair.p:.3g}",
                         f"{pair.adjusted_p:.3g}", pair.test)
        )  # fmt: skip
        lines.append(f"<tr{mark}><td>{escape(pair.a)} – {escape(pair.b)}</td>{cells}</tr>")
    name = metric.replace("_", " ")
    head = ["a – b", f"{name}, a minus b", "a better on rows", "b better on rows", "p", "p after Holm", "test"]
    note = (
        "The same rows with both models: McNemar's exact test where an answer is right or wrong, else Fisher's "
        "randomisation test of the scores' differences. Holm's adjustment accounts for the number of pairs; bold: "
        "below 0.05 after it."
    )
    return f'<p class="soft">{escape(note)}</p>{table(head, lines)}'


def _answers(board: Board) -> str:
    """What each model said to each row, the first rows only."""
    judge, metric = board.plan.judge, board.metrics[0]
    lines = []
    for number, row in enumerate(board.plan.data.rows[:ROWS_SHOWN]):
        cells = [_text(row[column]) for column in judge.columns]
        for line in board.lines:
            found = line.judged.evaluation
            score = f"{metric.replace('_', ' ')} {found.scores[metric].values[number]:.3g}"
            said = _text(found.answers[number]) if found.answers else ""
            cells.append(f"{said}<small>{score}</small>")
        texts = "".join(f'<td class="text">{cell}</td>' for cell in cells)
        lines.append(f"<tr><td>{number + 1}</td>{texts}</tr>")
    more = f"The first {ROWS_SHOWN} of {board.rows:,} rows; " if board.rows > ROWS_SHOWN else ""
    note = f"{more}texts over {TEXT_SHOWN} characters are cut. All of it is in answers.csv."
    head = ["row", *judge.columns, *(line.name for line in board.lines)]
    return f'<p class="soft">{escape(note[0].upper() + note[1:])}</p>{table(head, lines)}'


def _text(value: object) -> str:
    """A person's or a model's text, cut and escaped."""
    text = value.name if isinstance(value, Path) else str(value)
    return escape(text if len(text) <= TEXT_SHOWN else text[:TEXT_SHOWN] + "…")
