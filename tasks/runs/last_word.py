"""The last word on a stopped run of `mlflow run`: `python -m tasks.runs.last_word RUN PROCESS STATUS...`.

MLflow's command line calls such a run FAILED when its program has ended, whatever that has said: 3.17 asks whether the
run has ended already, but with the name of its state, which `RunStatus.is_terminated` does not know.
"""

import os
import sys
import time
from collections.abc import Collection

from mlflow import MlflowClient

PATIENCE_S, POLL_S = 10.0, 0.1


def have_the_last_word(run_id: str, launcher: int, wrong: Collection[str]) -> None:
    """Make a run KILLED that has a `wrong` status when the process `launcher` has ended, or had ten seconds to.

    A run that has another one by then, because it is resumed, is left alone.
    """
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and _lives(launcher):
        time.sleep(POLL_S)
    client = MlflowClient()
    if client.get_run(run_id).info.status in wrong:
        client.set_terminated(run_id, "KILLED")


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
        return True
    except ProcessLookupError:
        return False


if __name__ == "__main__":
    have_the_last_word(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
