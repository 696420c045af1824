"""The report of a comparison of registered models: figures, CSV and one HTML page, logged to the parent run."""

import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from experiments.evaluation.leaderboard import Leaderboard, ModelRow, shown
from experiments.evaluation.page import analyze, page, text_table, words
from experiments.reports.figures import Bars, save_bars, save_costs, styles
from experiments.reports.statistics import Interval
from experiments.reports.tables import bounds, to_csv
from experiments.tracking.run import Tracker
from experiments.tracking.store import artifact_path
from tasks.metrics import lower_is_better

PAGE = "reports/comparison.html"
PAIR_COLUMNS = ("a", "b", "difference", "low", "high", "a_better_rows", "b_better_rows", "p", "p_holm", "test")


@dataclass(frozen=True)
class EvaluationResult:
    """What came out of a comparison of registered models."""

    run_id: str
    leaderboard: Leaderboard
    analysis: tuple[str, ...]
    page_uri: str

    @property
    def failures(self) -> Mapping[str, str]:
        return self.leaderboard.failures

    def table(self) -> str:
        """The result for a terminal."""
        lines = [*text_table(self.leaderboard), "", *self.analysis, ""]
        lines += [f"FAILED {name}: {reason}" for name, reason in self.failures.items()]
        return "\n".join([*lines, f"report: {self.page_uri}"])


def report(leaderboard: Leaderboard, tracker: Tracker, facts: Mapping[str, str]) -> EvaluationResult:
    """Write and log the report, and sum it up on the parent run."""
    analysis = analyze(leaderboard)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        figures = _figures(folder / "plots", leaderboard)
        (folder / "reports").mkdir()
        for name, text in _tables(leaderboard).items():
            (folder / "reports" / name).write_text(text, encoding="utf-8")
        texts = {leaderboard.plan.data.name: analysis}
        (folder / "reports/analysis.json").write_text(json.dumps(texts, indent=1, ensure_ascii=False), encoding="utf-8")
        (folder / PAGE).write_text(page(leaderboard, analysis, facts, figures), encoding="utf-8")
        tracker.log_files(folder)
    note = [f"**compare {leaderboard.plan.title}**. The whole report is the artifact `{PAGE}`.", *analysis]
    note += [f"FAILED {name}: {reason}" for name, reason in leaderboard.failures.items()]
    tracker.describe("\n\n".join(note), {"models_failed": str(len(leaderboard.failures))})
    return EvaluationResult(tracker.run_id, leaderboard, tuple(analysis), artifact_path(tracker.run_id, PAGE))


def _figures(folder: Path, leaderboard: Leaderboard) -> list[tuple[str, Path]]:
    """Every metric as bars from 0, and the deciding one against latency and memory; one color and marker a model."""
    names, deciding = [row.name for row in leaderboard.rows], leaderboard.metrics[0]
    titles = {
        name: f"{words(name)}{', lower is better' if lower_is_better(name) else ''}" for name in leaderboard.metrics
    }
    title, bars = f"{leaderboard.plan.title}, {leaderboard.size:,} rows", []
    for metric in leaderboard.metrics:
        values, highest = (
            [row.quality[metric] for row in leaderboard.rows],
            math.inf if lower_is_better(metric) else 1.0001,
        )
        bars.append(Bars(titles[metric], values, partial(shown, metric), highest=highest))
    quality, cost = folder / "quality.png", folder / "quality_latency.png"
    save_bars(quality, names, bars, styles(names), title)
    costs = {
        "median seconds of a single request": {row.name: row.latency for row in leaderboard.rows},
        "million bytes of weights": {
            row.name: Interval(row.measured.costs["memory_bytes"] / 1e6) for row in leaderboard.rows
        },
    }
    values = {row.name: row.quality[deciding] for row in leaderboard.rows}
    save_costs(cost, values, costs, styles(names), titles[deciding], f"quality against cost: {title}")
    return [
        ("Metrics, with 95 % intervals where each row has a score", quality),
        ("Quality against latency and memory", cost),
    ]


def _tables(leaderboard: Leaderboard) -> dict[str, str]:
    """The files of tables, by name."""
    tests = []
    for pair in leaderboard.pairs:
        found = pair.difference or Interval(float("nan"))
        numbers = (found.mean, found.low, found.high, pair.a_better, pair.b_better, pair.p, pair.adjusted_p)
        tests.append(dict(zip(PAIR_COLUMNS, (pair.a, pair.b, *numbers, pair.test), strict=True)))
    return {
        "leaderboard.csv": to_csv([_row(leaderboard, row) for row in leaderboard.rows]),
        "answers.csv": to_csv(_answers(leaderboard)),
        "pairs.csv": to_csv(tests, PAIR_COLUMNS),
    }


def _row(leaderboard: Leaderboard, row: ModelRow) -> dict[str, object]:
    measured, version = row.measured, row.measured.version
    quality = {
        name: value for metric in leaderboard.metrics for name, value in bounds(metric, row.quality[metric]).items()
    }
    return {
        "model": version.model,
        "version": version.key,
        "rows": leaderboard.size,
        **quality,
        "latency_median_seconds": row.latency.mean,
        "latency_median_low": row.latency.low,
        "latency_median_high": row.latency.high,
        **measured.costs,
    }


def _answers(leaderboard: Leaderboard) -> list[dict[str, object]]:
    """Every row with what each model said, and its score by the deciding metric."""
    metric = leaderboard.metrics[0]
    lines = []
    for number, given in enumerate(leaderboard.plan.data.rows):
        line: dict[str, object] = {"row": number + 1}
        for column in leaderboard.plan.metrics.columns:
            line[column] = given[column].name if isinstance(given[column], Path) else given[column]
        for row in leaderboard.rows:
            found = row.measured.evaluation
            line[row.name] = found.answers[number] if found.answers else ""
            line[f"{row.name}: {metric}"] = found.scores[metric].values[number]
        lines.append(line)
    return lines
