"""An answer in time, or none: for libraries that wait longer for a network than a user would."""

from collections.abc import Callable
from threading import Thread
from typing import TypeVar

Result = TypeVar("Result")


def within(seconds: float, ask: Callable[[], Result]) -> Result:
    """The answer to a question, if it comes in time. Raises TimeoutError, and what the question raises.

    A question without an answer is left alone in a thread that ends with the program.
    """
    found: list[Result] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(ask())
        except BaseException as error:
            failed.append(error)

    thread = Thread(target=run, daemon=True, name="question")
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not found:
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    return found[0]
