"""How each task looks on the page; a task without a panel of its own has the general one."""

import importlib

from ui.panels.base import Example, Panel

# Named, not imported: drawing one task does not load the others'.
PANELS: dict[str, str] = {}


def panel(task: str) -> Panel:
    """The panel of a task by its contract name."""
    if task not in PANELS:
        return Panel(task)
    module, class_name = PANELS[task].split(":")
    return getattr(importlib.import_module(module), class_name)(task)


__all__ = ["Example", "Panel", "panel"]
