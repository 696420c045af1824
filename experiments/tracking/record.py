"""What is recorded of every training, whether MLflow is at hand or not: names, the commit, the model that came out."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# The artifact with a run's configuration, in which this key is no field: why precision and the like are what they are.
CONFIG_FILE, SPEED_TRIAL = "config.json", "speed_trial"
SNAPSHOTS = "plots/epochs"
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class SavedModel:
    """A trained network written as a task's model folder.

    Attributes:
        task: contract name of the task.
        name: what results of the model say in their field `model`.
        registered_name: the registered model that it becomes a version of.
        params: facts that MLflow shows beside the logged model.
    """

    task: str
    name: str
    registered_name: str
    input_example: Mapping[str, Any]
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Registration:
    """How a model is registered: tags of its version, and which of them is the metric that makes a champion.

    Attributes:
        promote: whether it becomes champion if it is better; else that is the caller's business.
        force: whether it becomes champion in any case.
    """

    tags: dict[str, str]
    metric: str
    promote: bool
    force: bool = False


def git_commit() -> str:
    """The commit of this checkout, with `-dirty` when files differ from it; `unknown` outside a checkout."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
