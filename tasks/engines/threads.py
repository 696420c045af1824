"""How many threads llama.cpp gets. Its threads wait for each other by spinning: where one of them has to share a core
with another busy process, all of them stand still (0.5 tokens/s in place of 39, on two cores)."""

import math
import os
import sys
import threading
import time

import psutil

SHORTEST_S = 0.1  # the system counts in hundredths of a second
NOISE = 0.25  # of a core, that a desktop takes without being busy
# Of two busy threads on one core, one of this niceness gets 1/45, and what the other leaves while it waits.
# That is enough to write faster than people read, and a training, whose threads wait for the slowest of them, keeps two
# thirds of its speed.
NICENESS = 17


class OtherLoad:
    """How busy other processes keep this machine."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._since = self._now()

    def cores(self) -> float | None:
        """Cores that others kept busy since this was last asked; None if that was a moment ago."""
        now = self._now()
        seconds, busy, own = (new - old for new, old in zip(now, self._since, strict=True))
        if seconds < SHORTEST_S:
            return None
        self._since = now
        return max(0.0, (busy - own) / seconds)

    def _now(self) -> tuple[float, float, float]:
        times, own = psutil.cpu_times(), self._process.cpu_times()
        idle = times.idle + getattr(times, "iowait", 0.0)
        # A guest's time is counted in user and nice too.
        guest = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
        return time.monotonic(), sum(times) - guest - idle, own.user + own.system


def usable_cores() -> int:
    """Physical cores that this process may run on."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, psutil.cpu_count(logical=False) or allowed)


def threads_beside(others: float, cores: int) -> int:
    """One for each core that others leave free, and at least one. Args: others: cores that they keep busy."""
    return max(1, cores - math.ceil(max(0.0, others - NOISE)))


def be_patient() -> None:
    """Have the calling thread, and those that it will start, leave more of a busy core to others (on Linux)."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)
