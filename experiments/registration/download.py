"""Fetching a model of the Hub for the registry: looked at first, then downloaded, while a line says how far."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tasks import TASKS
from tasks.hub.failures import HubUnreachableError
from tasks.hub.fetch import DownloadProgress, fetch
from tasks.hub.memory import check_memory
from tasks.hub.names import Source
from tasks.hub.repository import look_up
from tasks.hub.source import download, pinned_in_cache

EVERY_S = 0.5
RESUMES = "what was downloaded is kept, and the same command resumes"


@dataclass(frozen=True)
class Downloaded:
    """A model in the Hub's cache.

    Attributes:
        source: at a commit, with the GGUF file.
        folder: in the cache.
        license: empty if it is not known.
    """

    source: Source
    folder: Path
    license: str


def downloaded(source: Source, task: str, variant: str, ignore: tuple[str, ...]) -> Downloaded:
    """The newest commit of a model, downloaded if need be; offline, what is in the cache.

    Raises ModelFolderError, in one line, for what cannot be had, or does not fit.
    """
    gguf = TASKS[task].of_language_models
    try:
        plan = look_up(source, gguf=gguf, variant=variant, ignore=ignore)
    except HubUnreachableError:
        found = pinned_in_cache(source, variant, gguf=gguf, ignore=ignore)
        if found is None:
            raise
        return Downloaded(found, download(found, ignore), "")
    check_memory(plan)
    shown = _Line()
    try:
        folder = fetch(plan, shown)
    except KeyboardInterrupt as stopped:
        stopped.add_note(RESUMES)
        raise
    finally:
        shown.end()
    return Downloaded(plan.source, folder, plan.license)


class _Line:
    """Prints how far a download is, over what it printed before: twice a second, each hundredth, and at the end."""

    def __init__(self) -> None:
        self.printed, self.last, self.share = 0.0, "", 0

    def __call__(self, now: DownloadProgress) -> None:
        self.last = now.line()
        share = 100 * now.done // max(1, now.total)
        if share > self.share or time.monotonic() - self.printed >= EVERY_S:
            self.share = share
            self._print()

    def end(self) -> None:
        if self.last:
            self._print()
            print(flush=True)

    def _print(self) -> None:
        sys.stdout.write(f"\r      {self.last:<70}")
        sys.stdout.flush()
        self.printed = time.monotonic()
