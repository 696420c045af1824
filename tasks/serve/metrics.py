"""Counts and times of the gateway, for Prometheus."""

from collections.abc import Mapping

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


class Metrics:
    """What is counted. Routes are named by what they are for, never by what a client wrote."""

    def __init__(self) -> None:
        disable_created_metrics()
        self.registry = CollectorRegistry()
        own = {"namespace": "project_dl", "registry": self.registry}
        self.requests = Counter(
            "requests", "Requests by route and status; 499: the client left.", ["route", "status"], **own
        )
        self.seconds = Histogram(
            "request_seconds", "From the request to the end of its answer.", ["route"], buckets=SECONDS, **own
        )
        self.tokens = Counter("tokens", "Tokens that models wrote (or read, where they do not write).", ["task"], **own)
        self.open = Gauge("requests_open", "Requests that are not answered yet.", **own)
        self.waiting = Gauge("requests_waiting", "Requests in the queue.", **own)
        self.busy = Gauge("worker_busy", "1 while a model is loaded or works.", **own)
        self.budget = Gauge("model_budget_bytes", "What loaded models may take together.", **own)
        self._loaded = Gauge("model_bytes", "Bytes of the weights in memory.", ["model"], **own)
        process = Gauge("process_bytes", "Memory of the whole process.", **own)
        process.set_function(lambda: psutil.Process().memory_info().rss)

    def count(self, route: str, status: int, seconds: float) -> None:
        """A request has been answered."""
        self.requests.labels(route, status).inc()
        self.seconds.labels(route).observe(seconds)

    def set_loaded(self, bytes_of: Mapping[str, int]) -> None:
        """The models that are in memory, and no others."""
        self._loaded.clear()
        for model, size in bytes_of.items():
            self._loaded.labels(model).set(size)
