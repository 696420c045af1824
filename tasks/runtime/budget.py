"""How much memory loaded models may take together: one setting for the tool in the browser and the gateway."""

import os

import psutil

from tasks.runtime.loaded import GIGABYTE

MEMORY_SWITCH = "PROJECT_DL_MEMORY_GB"


def memory_budget(given: str | None = None) -> int:
    """Bytes for loaded models: what is given in gigabytes, else PROJECT_DL_MEMORY_GB, else half of this machine's.

    Raises ValueError for a setting that is no number above 0.
    """
    name, setting = ("memory_gb", given) if given is not None else (MEMORY_SWITCH, os.environ.get(MEMORY_SWITCH))
    if setting is None:
        return psutil.virtual_memory().total // 2
    try:
        budget = int(float(setting) * GIGABYTE)
    except (ValueError, OverflowError):
        budget = 0
    if budget <= 0:
        raise ValueError(f"{name} is {setting!r}; valid: a number of gigabytes above 0")
    return budget
