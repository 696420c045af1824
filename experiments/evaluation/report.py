"""The report of a comparison of registered models: figures, CSV and one HTML page, logged to the parent run."""

import csv
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.comparison.results import Interval
from experiments.evaluation.analysis import analyse
from experiments.evaluation.figures import save_cost, save_quality
from experiments.evaluation.leaderboard import Board, Line, shown, with_interval
from experiments.evaluation.page import page
from experiments.tracking.run import Tracker
from tasks.runs import open_store
from tasks.texts import inert

PAGE = "reports/comparison.html"


@dataclass(frozen=True)
class JudgingResult:
    """What came out of a comparison of registered models."""

    run_id: str
    board: Board
    analysis: tuple[str, ...]
    page_uri: str

    @property
    def failures(self) -> Mapping[str, str]:
        return self.board.failures

    def table(self) -> str:
        """The result for a terminal."""
        lines = [*_text_table(self.board), "", *self.analysis, ""]
        lines += [f"FAILED {name}: {reason}" for name, reason in self.failures.items()]
        return "\n".join([*lines, f"report: {self.page_uri}"])


def report(board: Board, tracker: Tracker, facts: Mapping[str, str]) -> JudgingResult:
    """Write and log the report, and sum it up on the parent run."""
    analysis = analyse(board)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        save_quality(folder / "plots" / "quality.png", board)
        save_cost(folder / "plots" / "quality_latency.png", board)
        (folder / "reports").mkdir()
        _write_tables(folder / "reports", board, analysis)
        figures = [
            ("Metrics, with 95 % intervals where each row has a score", (folder / "plots/quality.png").read_bytes()),
            ("Quality against latency and memory", (folder / "plots/quality_latency.png").read_bytes()),
        ]
        (folder / PAGE).write_text(page(board, analysis, facts, figures), encoding="utf-8")
        tracker.log_files(folder)
    uri = (open_store().get_run(tracker.run_id).info.artifact_uri or "").removeprefix("file://")
    result = JudgingResult(tracker.run_id, board, tuple(analysis), f"{uri}/{PAGE}")
    note = [f"**compare {board.plan.title}**. The whole report is the artifact `{PAGE}`.", *analysis]
    tracker.describe("\n\n".join(note), {"models_failed": str(len(board.failures))})
    return result


def _write_tables(folder: Path, board: Board, analysis: Sequence[str]) -> None:
    (folder / "leaderboard.csv").write_text(_csv(_leaderboard(board)), encoding="utf-8")
    (folder / "answers.csv").write_text(_csv(_answers(board)), encoding="utf-8")
    found = [["a", "b", "difference", "low", "high", "a_better_rows", "b_better_rows", "p", "p_holm", "test"]]
    for pair in board.pairs:
        numbers = [*_numbers(pair.difference), str(pair.a_rows), str(pair.b_rows)]
        found.append([inert(pair.a), inert(pair.b), *numbers, f"{pair.p:.6g}", f"{pair.adjusted_p:.6g}", pair.test])
    (folder / "pairs.csv").write_text(_csv(found), encoding="utf-8")
    texts = {board.plan.data.name: list(analysis)}
    (folder / "analysis.json").write_text(json.dumps(texts, indent=1, ensure_ascii=False), encoding="utf-8")


def _leaderboard(board: Board) -> list[list[str]]:
    bounds = [f"{metric}{part}" for metric in board.metrics for part in ("", "_low", "_high")]
    costs = list(_costs(board.lines[0]))
    lines = [["model", "version", "rows", *bounds, *costs]]
    for line in board.lines:
        version = line.judged.version
        numbers = [number for metric in board.metrics for number in _numbers(line.quality[metric])]
        lines.append([inert(version.model), inert(version.key), str(board.rows), *numbers, *_costs(line).values()])
    return lines


def _costs(line: Line) -> dict[str, str]:
    judged = line.judged
    low, high = _numbers(line.latency)[1:]
    known = {name: f"{value:.6g}" for name, value in judged.metrics().items()}
    return {
        "latency_median_seconds": known["latency_median_seconds"],
        "latency_median_low": low,
        "latency_median_high": high,
        "latency_p95_seconds": known["latency_p95_seconds"],
        "latency_requests": str(len(judged.seconds)),
        "pace_seconds": known["pace_seconds"],
        "tokens_per_second": known.get("tokens_per_second", ""),
        "memory_bytes": str(judged.memory_bytes),
        "peak_growth_bytes": "" if judged.peak_growth is None else str(judged.peak_growth),
        "load_seconds": known["load_seconds"],
        "evaluation_seconds": known["evaluation_seconds"],
    }


def _answers(board: Board) -> list[list[str]]:
    """Every row with what each model said, and its score by the deciding metric."""
    judge, metric = board.plan.judge, board.metrics[0]
    head = ["row", *judge.columns]
    for line in board.lines:
        head += [inert(line.name), inert(f"{line.name}: {metric}")]
    lines = [head]
    for number, row in enumerate(board.plan.data.rows):
        cells = [str(number + 1)]
        for column in judge.columns:
            value = row[column]
            cells.append(inert(value.name if isinstance(value, Path) else str(value)))
        for line in board.lines:
            found = line.judged.evaluation
            cells.append(inert(found.answers[number]) if found.answers else "")
            cells.append(f"{found.scores[metric].values[number]:.6g}")
        lines.append(cells)
    return lines


def _numbers(value: Interval) -> list[str]:
    return [f"{value.mean:.6g}", *(f"{bound:.6g}" if value.known else "" for bound in (value.low, value.high))]


def _csv(lines: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def _text_table(board: Board) -> list[str]:
    metric, others = board.metrics[0], board.metrics[1:]
    width = max(len(line.name) for line in board.lines)
    main = [with_interval(metric, line.quality[metric]) for line in board.lines]
    titles = [metric.replace("_", " "), *(name.replace("_", " ") for name in others)]
    titles += ["latency s", "p95 s", "tokens/s", "MB", "growth MB", "load s"]
    widths = [max(len(titles[0]), *map(len, main)), *(max(9, len(title)) for title in titles[1:])]
    tied = board.tied
    head = "  ".join(f"{title:>{columns}}" for title, columns in zip(titles, widths, strict=True))
    lines = [
        f"{board.plan.title} ({board.rows:,} rows); = is not distinguishable from the best (intervals overlap)",
        f"  {'':{width}}  {head}",
    ]
    for line, value in zip(board.lines, main, strict=True):
        judged, speed = line.judged, line.judged.tokens_per_second
        cells = [value, *(shown(name, line.quality[name].mean) for name in others)]
        cells += [f"{judged.latency:.4f}", f"{judged.slow_latency:.4f}", "-" if speed is None else f"{speed:,.0f}"]
        cells += [f"{judged.memory_bytes / 1e6:,.1f}",
                  "-" if judged.peak_growth is None else f"{judged.peak_growth / 1e6:,.1f}",
                  f"{judged.load_seconds:.2f}"]  # fmt: skip
        text = "  ".join(f"{cell:>{columns}}" for cell, columns in zip(cells, widths, strict=True))
        lines.append(f"{'= ' if line in tied else '  '}{line.name:{width}}  {text}")
    counts = sorted({len(line.judged.seconds) for line in board.lines})
    lines.append(f"latency: median of {' to '.join(map(str, counts))} single requests")
    return lines
