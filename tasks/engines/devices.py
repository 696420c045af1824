"""The device that models run on, the same choice in every task and training."""

import torch


def pick_device(name: str) -> torch.device:
    """The device of a name; `auto` takes a GPU if there is one. Raises ValueError for one that is not there."""
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        name = next(device for device in ("cuda", "mps", "cpu") if present[device])
    if not present.get(name):
        usable = ", ".join(["auto", *(device for device, there in present.items() if there)])
        raise ValueError(f"device is {name!r}; valid on this machine: {usable}")
    return torch.device(name)
