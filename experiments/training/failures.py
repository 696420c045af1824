"""Several processes of one training: rank 0, which has the run, ends with the error of the rank that failed."""

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from accelerate import Accelerator
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]  # as documented

from experiments.config import TrainingError

FIRST = "project-dl/first-failure"
PATIENCE = timedelta(seconds=10)


@contextmanager
def failures_shared(accelerator: Accelerator) -> Iterator[None]:
    """Tell rank 0 what another rank dies of; on rank 0 raise that in place of what follows from it.

    What follows are a connection that closes, and SIGTERM from `torchrun`, which ends the other ranks. Raises
    TrainingError there.
    """
    if accelerator.num_processes == 1:
        yield
        return
    # The one in which `torchrun` has the ranks find each other: it outlives any of them.
    store = TCPStore(os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"]), is_master=False, timeout=PATIENCE)
    try:
        yield
    except BaseException as error:
        if not accelerator.is_main_process:
            if isinstance(error, Exception):
                said = f"{type(error).__name__}: {error}"
                with contextlib.suppress(RuntimeError):  # `torchrun` itself may be gone, and its store with it
                    store.compare_set(FIRST, "", f"process {accelerator.process_index} failed with {said}")
        elif not isinstance(error, TrainingError):
            reason = ""
            with contextlib.suppress(RuntimeError):
                reason = store.get(FIRST).decode() if store.check([FIRST]) else ""
            if reason:
                raise TrainingError(reason) from error
        raise
