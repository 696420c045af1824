"""What a new registry can be given offline: for the home page's one button. No Streamlit."""

from collections.abc import Collection
from dataclasses import dataclass, field

from tasks import PRETRAINED_TASKS
from tasks.catalog import catalog
from ui.running.processes import Process, processes, start
from ui.running.programs import changed, program


@dataclass(frozen=True)
class FirstStep:
    """A program to start: its entry point, its values, and what it brings."""

    entry: str
    purpose: str
    values: dict[str, str] = field(default_factory=dict)


def first_steps(found: Collection[str] = ()) -> list[FirstStep]:
    """The programs that fill a new registry offline; none once a pretrained model is there: it is not new any more.

    Args: found: the tasks that have a model.
    """
    if set(found) & set(PRETRAINED_TASKS):
        return []
    steps = []
    here = [task for task in PRETRAINED_TASKS if catalog()[task].ready_offline]
    if len(here) == len(PRETRAINED_TASKS):  # one program for all loads its libraries once
        steps.append(
            FirstStep(
                "register",
                "a small model for each of the seven tasks of text and pictures; a chat model comes first",
                {"task": "all"},
            )
        )
    else:
        steps += [
            FirstStep("register", f"{task}: a small model that is on this machine", {"task": task}) for task in here
        ]
    trainings = {
        "image-classification": FirstStep("cnn", "LeNet-5, trained on handwritten digits"),
        "sequence-reversal": FirstStep("seq2seq", "an encoder-decoder with attention, trained to reverse sequences"),
    }
    return steps + [step for task, step in trainings.items() if task not in found]


def first_processes() -> list[tuple[FirstStep, Process]]:
    """The steps that were started, each with its newest process; [] unless one of them works or waits."""
    found = []
    for step in first_steps():
        values = changed(program(step.entry), step.values)
        of_it = [one for one in processes() if one.entry == step.entry and dict(one.values) == values]  # newest first
        found += [(step, of_it[0])] if of_it else []
    return found if any(one.active for _, one in found) else []


def start_first_steps(found: Collection[str] = ()) -> list[Process]:
    """Start them all, but none that works or waits already (two visitors may click, or one twice).

    Args: found: the tasks that have a model.

    Raises ConfigError or ProcessError as `start` does.
    """
    active = [(process.entry, dict(process.values)) for process in processes() if process.active]
    # A process keeps the values that are not its program's defaults.
    wanted = [(step, (step.entry, changed(program(step.entry), step.values))) for step in first_steps(found)]
    return [start(step.entry, step.values) for step, known in wanted if known not in active]
