"""Measuring one registered model: loaded, timed with single requests, asked all rows, and unloaded."""

import itertools
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from experiments.evaluation.plan import Plan
from experiments.evaluation.tasks import Evaluation, examine, request
from tasks import registry
from tasks.base import ModelFolderError, Task
from tasks.registry import RegisteredVersion
from tasks.runtime.memory import give_memory_back

REQUESTS = 20  # timed one by one; the rows are gone through again where they are fewer
FEWEST_REQUESTS = 3
REQUESTS_SECONDS = 60.0  # slow models are asked less often
FIXED_SIZE, FIXED_STEPS = 128, 30
STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Measured:
    """What was measured of one model.

    Attributes:
        evaluation: its metrics, and scores and answers by row.
        seconds: of each single request, in the order of the rows.
        pace: of fixed work, done after each of these requests: how fast the machine itself was in the meantime.
        tokens: read or written, as the task's results say, in all these requests; None where they do not.
        memory_bytes: of the weights.
        peak_growth: bytes by which the process's memory had grown at most while the model was loaded and answered the
            single requests; None where the system does not tell.
        load_seconds: with libraries and files in memory already.
        evaluation_seconds: for all rows.
    """

    version: RegisteredVersion
    evaluation: Evaluation
    seconds: tuple[float, ...]
    pace: tuple[float, ...]
    tokens: int | None
    memory_bytes: int
    peak_growth: int | None
    load_seconds: float
    evaluation_seconds: float

    @property
    def latency(self) -> float:
        return statistics.median(self.seconds)

    @property
    def slow_latency(self) -> float:
        """The 95th percentile of the requests, interpolated; of few requests nearly the slowest."""
        return float(np.quantile(self.seconds, 0.95))

    @property
    def tokens_per_second(self) -> float | None:
        return None if self.tokens is None else self.tokens / sum(self.seconds)

    def costs(self) -> dict[str, float | None]:
        """Times and sizes; None where not known."""
        return {
            "latency_median_seconds": self.latency,
            "latency_p95_seconds": self.slow_latency,
            "latency_requests": len(self.seconds),
            "pace_seconds": statistics.median(self.pace),
            "tokens_per_second": self.tokens_per_second,
            "memory_bytes": self.memory_bytes,
            "peak_growth_bytes": self.peak_growth,
            "load_seconds": self.load_seconds,
            "evaluation_seconds": self.evaluation_seconds,
        }

    def metrics(self) -> dict[str, float]:
        """All numbers as they are logged."""
        known = {name: float(value) for name, value in self.costs().items() if value is not None}
        return {**self.evaluation.metrics, **known}


def measure(plan: Plan, version: RegisteredVersion) -> Measured:
    """Measure one model. Raises what loading and asking it raise, NoMetricError if it knows none of the labels.

    It is loaded twice, the second time for the record: the first brings its libraries into the process and its files
    into memory, which would else be counted against whichever model comes first.
    """
    _load(plan, version)
    give_memory_back()
    grown = _watch_memory()
    started = time.perf_counter()
    task = _load(plan, version)
    load_seconds = time.perf_counter() - started
    seconds, pace, answers = _single_requests(task, plan)
    growth = grown()
    started = time.perf_counter()
    evaluation = examine(task, plan.data.rows, plan.settings)
    return Measured(
        version=version,
        evaluation=_with_answers(evaluation, answers, len(plan.data.rows)),
        seconds=seconds,
        pace=pace,
        tokens=sum(answer["tokens"] for answer in answers) if "tokens" in answers[0] else None,
        memory_bytes=task.memory_bytes(),
        peak_growth=growth,
        load_seconds=load_seconds,
        evaluation_seconds=time.perf_counter() - started,
    )


def _load(plan: Plan, version: RegisteredVersion) -> Task:
    """The loaded model. Raises ModelFolderError that names the version, not its place on this machine."""
    folder = registry.model_folder(version)
    try:
        return registry.load(version.key, plan.device)
    except ModelFolderError as error:
        raise ModelFolderError(str(error).replace(str(folder), version.key)) from error


def _single_requests(task: Task, plan: Plan) -> tuple[tuple[float, ...], tuple[float, ...], list[dict[str, Any]]]:
    """Seconds of single rows, of fixed work after each, and the answers, after one request that does not count.

    The same rows for every model, unless time runs out.
    """
    task.run([request(plan.task, plan.data.rows[0])], plan.settings)
    _fixed_work()
    seconds: list[float] = []
    pace: list[float] = []
    answers: list[dict[str, Any]] = []
    for row in itertools.islice(itertools.cycle(plan.data.rows), REQUESTS):
        asked = request(plan.task, row)
        started = time.perf_counter()
        answers += task.run([asked], plan.settings)
        seconds.append(time.perf_counter() - started)
        pace.append(_fixed_work())
        if sum(seconds) > REQUESTS_SECONDS and len(seconds) >= FEWEST_REQUESTS:
            break
    return tuple(seconds), tuple(pace), answers


def _fixed_work() -> float:
    """Seconds of some milliseconds' work of torch and Python, always the same.

    Models are timed one after the other, and what else the machine does changes meanwhile: this tells by how much.
    """
    started = time.perf_counter()
    matrix = torch.eye(FIXED_SIZE)
    for _ in range(FIXED_STEPS):
        matrix = matrix @ matrix
        sum(range(1000))
    return time.perf_counter() - started


def _with_answers(evaluation: Evaluation, answers: Sequence[Mapping[str, Any]], rows: int) -> Evaluation:
    """With what was written to the single requests, where the metric asks for no text: the reader wants to see it."""
    if evaluation.answers or "completion" not in answers[0]:
        return evaluation
    texts = [str(answer["completion"]) for answer in answers[:rows]]
    return Evaluation(evaluation.metrics, evaluation.scores, tuple(texts + [""] * (rows - len(texts))))


def _watch_memory() -> Callable[[], int | None]:
    """A function that tells how far the process's memory has grown at most since this call, in bytes.

    On Linux the kernel's own high-water mark, set back first; elsewhere None, since samples would miss short peaks.
    """
    before = psutil.Process().memory_info().rss
    known = sys.platform == "linux"
    try:
        CLEAR_REFS.write_text("5")  # proc(5): sets the mark back to what is in use now
    except OSError:
        known = False

    def grown() -> int | None:
        if not known:
            return None
        lines = STATUS.read_text().splitlines()
        mark = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)
        return None if mark is None else max(0, mark - before)

    return grown
