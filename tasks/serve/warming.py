"""The chat model that will be asked for first, loaded while MLflow is still being imported, which takes longer.

Where the store is in SQLite, its own tables say which model that is. This is a guess: the registry is asked as always
when a request comes, and what cannot be read here is only loaded later.
"""

import atexit
import logging
import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from tasks.base import ModelFolderError
from tasks.hub.source import runs_on_llama, weights
from tasks.packaged import packaged_folder

if TYPE_CHECKING:
    from tasks.engines.llama import LlamaModel

logger = logging.getLogger(__name__)

DEFAULT_STORE = "sqlite:///mlflow.db"  # MLflow's
CHAMPION_OF = """
    select version.storage_location from registered_model_aliases alias
    join model_versions version on version.name = alias.name and version.version = alias.version
    join model_version_tags tag on tag.name = version.name and tag.version = version.version
    where alias.alias = 'champion' and tag.key = 'task' and tag.value = ? and version.name = ?
"""


class Warming:
    """A model that is loaded in a thread, and kept until `end`."""

    def __init__(self, task: str, most_bytes: int) -> None:
        """Begin. Args: task: whose champion, if it is a GGUF file of at most `most_bytes`."""
        self._task, self._most = task, most_bytes
        self._model: LlamaModel | None = None
        self._over = threading.Lock()
        self._ended = False
        self._thread = threading.Thread(target=self._load, name="warming", daemon=True)
        self._thread.start()
        atexit.register(self._close)  # a thread that still loads while Python shuts down crashes the process

    def end(self) -> None:
        """Keep the model no longer: it is in use now."""
        with self._over:
            self._ended, self._model = True, None

    def _close(self) -> None:
        self._thread.join()
        self.end()

    def _load(self) -> None:
        try:
            folder = champion_folder(self._task)
            if folder is None or not runs_on_llama(folder):
                return
            file = weights(folder)
            if file.stat().st_size > self._most:
                return
            from tasks.engines.llama import open_gguf

            model = open_gguf(file, "auto")
        except (OSError, sqlite3.Error, ModelFolderError) as error:
            logger.debug("%s was not loaded beforehand: %s", self._task, error)
            return
        with self._over:
            self._model = None if self._ended else model


def champion_folder(task: str) -> Path | None:
    """The folder of the champion that has a task's name, by the tables of a store in SQLite; None without one.

    Raises sqlite3.Error, ModelFolderError.
    """
    store = os.environ.get("MLFLOW_REGISTRY_URI") or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_STORE
    file = Path(unquote(store.removeprefix("sqlite:///")))
    if not store.startswith("sqlite:///") or not file.is_file():
        return None
    with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as database:
        row = database.execute(CHAMPION_OF, (task, task)).fetchone()
    if row is None or not row[0]:
        return None
    place = urlsplit(row[0])
    path = unquote(place.path) if place.scheme == "file" else row[0]
    return packaged_folder(Path(path), task) if Path(path).is_dir() else None
