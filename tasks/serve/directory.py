"""Which registered version a request means; what the registry said is remembered for a moment.

A look-up takes MLflow 5 to 30 ms, more than many a model. So an answer of the last two seconds is used as it is; one of
the last minute is used too, while it is looked up anew; after that a request waits for the look-up.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tasks import registry
from tasks.base import TaskInputError, short
from tasks.registry import ModelNotFoundError, RegisteredVersion
from tasks.runs import readable_errors
from tasks.texts import text_fault

logger = logging.getLogger(__name__)

FRESH_S, USABLE_S = 2.0, 60.0
MOST_REMEMBERED = 1000
LONGEST_REFERENCE = 256
Found = TypeVar("Found")


class Directory:
    """Registered versions by task and reference. Its two functions are the registry's; tests give others."""

    def __init__(
        self,
        find: Callable[[str], RegisteredVersion] = registry.find,
        versions: Callable[[str | None], list[RegisteredVersion]] = registry.versions,
    ) -> None:
        self._find, self._versions = find, versions
        self._remembered: dict[tuple[str, str | None], tuple[float, RegisteredVersion]] = {}
        self._refreshing: dict[tuple[str, str | None], asyncio.Task[None]] = {}

    async def resolve(self, task: str, reference: str | None = None) -> RegisteredVersion:
        """The version of a task that a reference names; without one, the task's champion.

        Raises ModelNotFoundError, TaskInputError where several champions could be meant, StoreUnreachableError.
        """
        asked = (task, reference)
        then, version = self._remembered.get(asked, (0.0, None))
        age = time.monotonic() - then
        if version is None or age > USABLE_S:
            return await self._look_up(asked)
        if age > FRESH_S and asked not in self._refreshing:
            refreshing = asyncio.create_task(self._refresh(asked))
            self._refreshing[asked] = refreshing
            refreshing.add_done_callback(lambda _: self._refreshing.pop(asked))
        return version

    async def listed(self, task: str | None = None) -> list[RegisteredVersion]:
        """All versions (of a task), champions first. Raises StoreUnreachableError."""
        return await _in_thread(lambda: self._versions(task))

    async def _refresh(self, asked: tuple[str, str | None]) -> None:
        try:
            await self._look_up(asked)
        except Exception as error:  # the next request gets it
            self._remembered.pop(asked, None)
            logger.warning("the model of %s could not be looked up again: %s", asked[0], error)

    async def _look_up(self, asked: tuple[str, str | None]) -> RegisteredVersion:
        task, reference = asked
        if reference is None:
            version = default_version(task, await self.listed(task))
        else:
            _check_reference(reference)
            version = await _in_thread(lambda: self._find(reference))
            if version.task != task:
                names = ", ".join(sorted({one.name for one in await self.listed(task)})) or "none"
                raise ModelNotFoundError(f"{version.key} is for {version.task}; registered for {task}: {names}")
        if len(self._remembered) >= MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[asked] = (time.monotonic(), version)
        return version


def default_version(task: str, found: list[RegisteredVersion]) -> RegisteredVersion:
    """The champion that is meant when only the task is named: the one of its own name, or the only one.

    Raises ModelNotFoundError for none, TaskInputError for several.
    """
    champions = [version for version in found if version.champion]
    own = [version for version in champions if version.name == task]
    if len(own or champions) == 1:
        return (own or champions)[0]
    if champions:
        raise TaskInputError(f"model is missing, and {task} has several; valid: {', '.join(v.name for v in champions)}")
    others = f"; valid for model: {', '.join(sorted(version.key for version in found))}" if found else ""
    raise ModelNotFoundError(f"{task} has no champion in the registry{others}")


def _check_reference(reference: str) -> None:
    if not 1 <= len(reference) <= LONGEST_REFERENCE or text_fault(reference):
        raise TaskInputError(f"model is {short(reference)}; valid: name, name@alias or name/version")


async def _in_thread(ask: Callable[[], Found]) -> Found:
    """What the registry says. ModelNotFoundError passes; what else goes wrong becomes StoreUnreachableError."""

    def asked() -> Found:
        with readable_errors():
            return ask()

    answer: Awaitable[Found] = asyncio.to_thread(asked)
    return await answer
