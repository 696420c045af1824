"""What tasks without a model share, which stand in for the real ones."""

from typing import Any

from tasks.base import Task


class Weightless(Task):
    """Nothing to load; a test's own class says what it answers, or streams."""

    name = "weightless"
    inputs = {"text": True}

    def load(self) -> None:
        pass

    def memory_bytes(self) -> int:
        return 10**6

    def answer(self, rows: Any, parameters: Any, cancel: Any) -> Any:  # noqa: ARG002
        raise AssertionError(f"{len(rows)} rows with {parameters} asked for at once, not as a stream")
