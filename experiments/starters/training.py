"""Training a starter: the same way as every other network, and at its end a folder with a model card."""

import dataclasses
import importlib
import shutil
from pathlib import Path

from torch import nn

from experiments.config import StarterConfig, UserError
from experiments.config.names import STARTERS
from experiments.reports.text import count
from experiments.starters import card
from experiments.starters.starter import Starter
from experiments.tracking.run import git_commit
from experiments.training import devices
from experiments.training import run as training
from experiments.training.family import Result, SavedModel, Training


def starter_of(task: str) -> Starter:
    """A task's starter, imported when asked for: transformers and diffusers take seconds to load."""
    return importlib.import_module(STARTERS[task]).STARTER


def train(config: StarterConfig, given: frozenset[str] = frozenset()) -> Result | None:
    """Train the starter of a task; see `experiments.training.run.train`. Its model folder gets a card.

    Raises UserError, besides, for an `output` that cannot become the model's folder.
    """
    output = None if config.output == "none" else Path(config.output)
    if output is not None and _holds_something_else(output):
        raise UserError(
            f"output is {config.output!r}, which holds something else than a model; valid: a new folder, or "
            "that of a model to be replaced"
        )
    starter = starter_of(config.task)

    def save(prepared: Training, network: nn.Module, folder: Path) -> SavedModel:
        saved = starter.family.save(prepared, network, folder)
        card.write(folder, starter, _cost(prepared))
        if output is not None:
            _replace(output, folder)
            print(f"the model is in {output}; `python -m experiments.evaluate --task {config.task}` measures it")
        return saved

    return training.train(dataclasses.replace(starter.family, save=save), config, given)


def _holds_something_else(folder: Path) -> bool:
    if not folder.is_dir():
        return folder.exists()
    names = {path.name for path in folder.iterdir()}
    return bool(names) and not names & {"config.json", "model_index.json"}


def _replace(target: Path, folder: Path) -> None:
    """Make `target` a copy of a folder; what is there now is lost only when the copy is complete."""
    new = target.with_name(f".{target.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(folder, new)
    if target.exists():
        shutil.rmtree(target)
    new.rename(target)


def _cost(prepared: Training) -> dict[str, str]:
    """What the training took and made, for the model card."""
    history, config, machine = prepared.state.history, prepared.config, devices.describe(prepared.config.device)
    minutes = sum(epoch["epoch_seconds"] for epoch in history) / 60
    threads = f" with {count(prepared.environment['threads'], 'CPU thread')}" if config.device == "cpu" else ""
    return {
        "parameters": f"{sum(value.numel() for value in prepared.state.network.parameters()):,}",
        "epochs": f"{len(history)}; epoch {prepared.best_epoch(history)} was kept, chosen by `{prepared.selected_by}`",
        "time": f"{minutes:.1f} minutes{threads}",
        "hardware": f"{machine['hardware']} ({machine['device_name']})",
        "compute precision": config.precision,
        "SHA-256 of the data": f"`{prepared.identity.sha256}`",
        "commit": f"`{git_commit()}`",
        "to reproduce": f"`mlflow run . -e starter --env-manager local -P task={config.task}`",
    }
