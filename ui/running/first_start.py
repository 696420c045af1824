"""What an empty registry can be given here and now, with no network: for the home page's one button. No Streamlit."""

from dataclasses import dataclass, field

from tasks.catalog import catalog
from ui.running.processes import Process, processes, start


@dataclass(frozen=True)
class FirstStep:
    """A program to start: its entry point, its values, and what it brings, in words."""

    entry: str
    purpose: str
    values: dict[str, str] = field(default_factory=dict)


def first_steps() -> list[FirstStep]:
    """The programs that fill an empty registry without a network."""
    steps = [
        FirstStep("cnn", "LeNet-5, trained on handwritten digits"),
        FirstStep("seq2seq", "an encoder-decoder with attention, trained to reverse sequences"),
    ]
    for task, offers in catalog().items():
        if offers.starter and offers.starter.is_dir():
            purpose = f"{task}: {offers.starter.name}, a small model that comes with the project"
            steps.append(FirstStep("register", purpose, {"task": task, "model": str(offers.starter)}))
    return steps


def start_first_steps() -> list[Process]:
    """Start them all, but none that works or waits already (two visitors may click, or one twice).

    Raises ConfigError or ProcessError as `start` does.
    """
    active = [(process.entry, dict(process.values)) for process in processes() if process.active]
    return [start(step.entry, step.values) for step in first_steps() if (step.entry, step.values) not in active]
