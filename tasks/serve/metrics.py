"""Counts and times of the gateway in Prometheus's text format, version 0.0.4. (Its client library is not needed else.)

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)  # seconds
PREFIX = "project_dl"
Sample = tuple[str, dict[str, str], float]  # name's ending, labels, value


class Metrics:
    """What is counted. Routes are named by what they are for, never by what a client wrote."""

    def __init__(self) -> None:
        self.running = 0
        self._requests: Counter[tuple[str, int]] = Counter()
        self._tokens: Counter[str] = Counter()
        self._seconds: Counter[str] = Counter()
        self._buckets: dict[str, list[int]] = {}

    def count(self, route: str, status: int, seconds: float) -> None:
        """A request has been answered."""
        self._requests[route, status] += 1
        self._seconds[route] += seconds  # type: ignore[assignment]  # a sum of floats
        self._buckets.setdefault(route, [0] * (len(BOUNDS) + 1))[bisect_left(BOUNDS, seconds)] += 1

    def count_tokens(self, task: str, tokens: int) -> None:
        """A model has written, or read where it does not write, tokens."""
        if tokens:
            self._tokens[task] += tokens

    def text(self, gauges: Iterable[tuple[str, str, list[Sample]]]) -> str:
        """All of it, with the given gauges (name, help, samples) of the moment."""
        lines: list[str] = []

        def add(name: str, kind: str, help_: str, samples: Iterable[Sample]) -> None:
            lines.append(f"# HELP {PREFIX}_{name} {help_}")
            lines.append(f"# TYPE {PREFIX}_{name} {kind}")
            lines.extend(f"{PREFIX}_{name}{ending}{_labels(labels)} {value:.10g}" for ending, labels, value in samples)

        requests = sorted(self._requests.items())
        add("requests_total", "counter", "Requests by route and status; 499: the client left.",
            [("", {"route": route, "status": str(status)}, count) for (route, status), count in requests])  # fmt: skip
        add("request_seconds", "histogram", "From the request to the end of its answer.", self._histogram())
        add("tokens_total", "counter", "Tokens that models wrote (or read, where they do not write).",
            [("", {"task": task}, count) for task, count in sorted(self._tokens.items())])  # fmt: skip
        add("requests_open", "gauge", "Requests that are not answered yet.", [("", {}, self.running)])
        for name, help_, samples in gauges:
            add(name, "gauge", help_, samples)
        return "\n".join(lines) + "\n"

    def _histogram(self) -> Iterable[Sample]:
        for route, buckets in sorted(self._buckets.items()):
            total = 0
            for bound, count in zip((*map(str, BOUNDS), "+Inf"), buckets, strict=True):
                total += count
                yield "_bucket", {"route": route, "le": bound}, total
            yield "_sum", {"route": route}, self._seconds[route]
            yield "_count", {"route": route}, total


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    escaped = {
        name: value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n") for name, value in labels.items()
    }
    return "{" + ",".join(f'{name}="{value}"' for name, value in escaped.items()) + "}"
