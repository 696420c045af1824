"""A registry in memory, and threads that take turns at it, one request at a time, in an order that a seed decides."""

import random
import threading
from collections.abc import Callable, Mapping
from typing import Any

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.store.entities import PagedList

HOUR_MS = 3_600_000


class DiedError(Exception):
    """This promoter was killed between two requests."""


class Turns:
    """Lets one thread at a time go on, to its next request; which one, `draw` decides.

    Some seeds change threads at nearly every request, others let one make many requests while the rest stand still.
    """

    def __init__(self, seed: int, deaths: int = 0) -> None:
        self.draw = random.Random(seed)
        self.deaths = deaths
        self._changed = threading.Condition()
        self._waiting: set[int] = set()
        self._chosen: int | None = None
        self._dies = False
        self._last: int | None = None
        self._steady = self.draw.choice((0.0, 0.5, 0.9))

    def take(self) -> None:
        """Wait for this thread's turn. Raises DiedError in one that is killed. No turns outside of `run`."""
        me = threading.get_ident()
        if threading.current_thread() is threading.main_thread():
            return
        with self._changed:
            self._waiting.add(me)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._chosen == me)
            self._waiting.remove(me)
            self._chosen = None
            if self._dies:
                self._dies = False
                raise DiedError

    def run(self, *actions: Callable[[], object]) -> None:
        """Run all actions, each in a thread, to their ends or deaths. Raises what one of them raised."""
        errors: list[BaseException] = []

        def act(action: Callable[[], object]) -> None:
            try:
                action()
            except DiedError:
                pass
            except BaseException as error:
                errors.append(error)
            finally:
                with self._changed:
                    self._changed.notify_all()

        threads = [threading.Thread(target=act, args=(action,), daemon=True) for action in actions]
        for thread in threads:
            thread.start()
        while alive := [thread for thread in threads if thread.is_alive()]:
            with self._changed:
                at_rest = self._changed.wait_for(
                    lambda alive=alive: len(self._waiting) == sum(thread.is_alive() for thread in alive), 0.05
                )
                if at_rest and self._waiting:
                    if self._last not in self._waiting or self.draw.random() >= self._steady:
                        self._last = self.draw.choice(sorted(self._waiting, key=self._order(threads)))
                    self._chosen = self._last
                    self._dies = self.deaths > 0 and self.draw.random() < 0.1
                    self.deaths -= self._dies
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._chosen is None)
        if errors:
            raise errors[0]

    @staticmethod
    def _order(threads: list[threading.Thread]) -> Callable[[int | None], int]:
        return [thread.ident for thread in threads].index


class Registry:
    """What `MlflowClient` offers of one registered model; each request waits for its turn."""

    def __init__(self, turns: Turns) -> None:
        self.turns = turns
        self.tags: list[dict[str, str]] = []  # of version 1, 2, ...
        self.alias: str | None = None
        self.hour = 0  # at which versions are made

    def create(self, tags: Mapping[str, str]) -> str:
        self.turns.take()
        self.tags.append({**tags, "made": str(self.hour * HOUR_MS)})
        return str(len(self.tags))

    def _version(self, number: str | int) -> ModelVersion:
        tags = dict(self.tags[int(number) - 1])
        version = ModelVersion("model", str(number), int(tags.pop("made")))
        version._tags = tags
        return version

    def get_model_version(self, name: str, version: str) -> ModelVersion:  # noqa: ARG002
        self.turns.take()
        return self._version(version)

    def search_model_versions(self, *_: Any, **__: Any) -> PagedList:
        self.turns.take()
        return PagedList([self._version(number) for number in range(1, len(self.tags) + 1)], None)

    def get_model_version_by_alias(self, *_: Any) -> ModelVersion:
        self.turns.take()
        if self.alias is None:
            raise MlflowException("there is no such alias", INVALID_PARAMETER_VALUE)
        return self._version(self.alias)

    def set_model_version_tag(self, name: str, version: str, key: str, value: str) -> None:  # noqa: ARG002
        self.turns.take()
        self.tags[int(version) - 1][key] = value

    def set_registered_model_alias(self, name: str, alias: str, version: str) -> None:  # noqa: ARG002
        self.turns.take()
        self.alias = str(version)
