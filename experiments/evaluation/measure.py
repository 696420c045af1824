"""Measuring one registered model: loaded, timed with single requests, asked all rows, and unloaded."""

import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from experiments.evaluation.plan import EvaluationPlan
from experiments.evaluation.tasks import Evaluation, examine, request
from tasks import registry
from tasks.base import ModelFolderError, Task
from tasks.registry import RegisteredVersion
from tasks.runtime.memory import give_memory_back

REQUESTS = 20  # timed one by one; the rows are gone through again where they are fewer
FEWEST_REQUESTS = 3
REQUESTS_SECONDS = 60.0  # slow models are asked less often


@dataclass(frozen=True)
class Measured:
    """What was measured of one model.

    Attributes:
        evaluation: its metrics, and scores and answers by row.
        seconds: of each single request, in the order of the rows.
        costs: times and sizes by the names of their metrics; None where not known.
    """

    version: RegisteredVersion
    evaluation: Evaluation
    seconds: tuple[float, ...]
    costs: Mapping[str, Any]

    def metrics(self) -> dict[str, float]:
        """All numbers as they are logged."""
        return {**self.evaluation.metrics, **{name: value for name, value in self.costs.items() if value is not None}}


def measure(plan: EvaluationPlan, version: RegisteredVersion) -> Measured:
    """Measure one model. Raises what loading and asking it raise, NoMetricError if it knows none of the labels.

    It is loaded twice, the second time for the record: the first brings its libraries into the process and its files
    into memory, which would else be counted against whichever model comes first.
    """
    _load(plan, version)
    give_memory_back()
    peak = _Peak()
    started = time.perf_counter()
    task = _load(plan, version)
    load_seconds = time.perf_counter() - started
    seconds, answers = _single_requests(task, plan)
    growth = peak.growth()
    started = time.perf_counter()
    evaluation = examine(task, plan.data.rows, plan.settings)
    # Tokens are those read or written in the single requests, as the task's results say.
    tokens = sum(answer["tokens"] for answer in answers) if "tokens" in answers[0] else None
    costs = {
        "latency_median_seconds": float(np.median(seconds)),
        "latency_p95_seconds": float(np.quantile(seconds, 0.95)),
        "latency_requests": len(seconds),
        "tokens_per_second": None if tokens is None else tokens / sum(seconds),
        "memory_bytes": task.memory_bytes(),
        "peak_growth_bytes": growth,
        "load_seconds": load_seconds,
        "evaluation_seconds": time.perf_counter() - started,
    }
    if not evaluation.answers and "completion" in answers[0]:  # the metric asks for no text; the reader wants to see it
        rows = len(plan.data.rows)
        texts = [str(answer["completion"]) for answer in answers[:rows]]
        evaluation = replace(evaluation, answers=tuple(texts + [""] * (rows - len(texts))))
    return Measured(version, evaluation, tuple(seconds), costs)


def _load(plan: EvaluationPlan, version: RegisteredVersion) -> Task:
    """The loaded model. Raises ModelFolderError that names the version, not its place on this machine."""
    folder = registry.model_folder(version)
    try:
        return registry.load(version.key, plan.device)
    except ModelFolderError as error:
        raise ModelFolderError(str(error).replace(str(folder), version.key)) from error


def _single_requests(task: Task, plan: EvaluationPlan) -> tuple[list[float], list[dict[str, Any]]]:
    """Seconds of single rows, and the answers, after one request that does not count.

    The same rows for every model, unless time runs out.
    """
    task.run([request(plan.task, plan.data.rows[0])], plan.settings)
    seconds: list[float] = []
    answers: list[dict[str, Any]] = []
    for row in itertools.islice(itertools.cycle(plan.data.rows), REQUESTS):
        asked = request(plan.task, row)
        started = time.perf_counter()
        answers += task.run([asked], plan.settings)
        seconds.append(time.perf_counter() - started)
        if sum(seconds) > REQUESTS_SECONDS and len(seconds) >= FEWEST_REQUESTS:
            break
    return seconds, answers


class _Peak:
    """How far the process's memory grows at most from now on, by the kernel's own high-water mark (Linux, proc(5))."""

    def __init__(self) -> None:
        self.before: int | None = psutil.Process().memory_info().rss
        try:
            Path("/proc/self/clear_refs").write_text("5")  # sets the mark back to what is in use now
        except OSError:
            self.before = None

    def growth(self) -> int | None:
        """Bytes; None where the system does not tell, since samples would miss short peaks."""
        if self.before is None:
            return None
        lines = Path("/proc/self/status").read_text().splitlines()
        marks = [int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")]
        return max(0, marks[0] - self.before) if marks else None
