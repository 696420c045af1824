"""What the judges of the starters over an encoder share."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks import task_class


def opened(task: str, folder: Path, row: Mapping[str, Any]) -> tuple[Any, float]:
    """A folder loaded as a task on the CPU, and the seconds from there to its first answer, with default settings."""
    started = time.perf_counter()
    loaded = task_class(task)(folder, folder.name, "cpu")
    loaded.load()
    loaded.run([row])
    return loaded, time.perf_counter() - started


# Texts of other kinds than the summariser has learnt from, written for this project.
OTHER_TEXTS = {
    "News": "The city council voted on Tuesday to close the old swimming hall at the end of June. The building, which "
    "opened in 1968, needs a new roof and new pipes, and repairs would cost more than eleven million. A new hall with "
    "two pools will be built beside the railway station and is to open in three years. Until then, schools will have "
    "to send their classes to the neighbouring town. Several hundred people had signed a petition against the plan. "
    "The mayor said that she understood the anger, but that the roof could not wait. Ticket prices in the new hall "
    "will stay as they are for families. The swimming club hopes that its members will not give up before the doors "
    "open again.",
    "Story": "Mira found the key on the way home from school, half buried in the sand under the swings. It was heavy "
    "and dark, and on its handle somebody had scratched a small bird. She asked the baker, the postman and the old "
    "woman with the three dogs, but nobody had lost a key. That night she could not sleep, so she tried it in every "
    "door of the house. The last one was the little cupboard behind the stairs, which had been locked for as long as "
    "she could remember. The key turned without a sound. Inside stood a wooden box full of letters, all of them "
    "written to her by her grandmother, one for every birthday until she was twenty. Mira read the first one, and "
    "then she closed the box again and decided to wait for the others.",
}
