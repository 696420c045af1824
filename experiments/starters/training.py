"""Training a starter: the same way as every other network, and at its end a folder with a model card."""

import dataclasses
import importlib
import shutil
from pathlib import Path
from typing import Any

from torch import nn

from experiments.config import StarterConfig, UserError
from experiments.starters import card
from experiments.starters.starter import Starter
from experiments.tracking.run import git_commit
from experiments.training import devices
from experiments.training import run as training
from experiments.training.family import Family, Result, SavedModel, Training

# Imported when asked for: transformers and diffusers take seconds to load.
RECIPES = {
    "sentiment-analysis": "experiments.starters.encoders.sentiment",
    "summarization": "experiments.starters.encoders.summaries",
    "question-answering": "experiments.starters.encoders.questions",
    "image-generation": "experiments.starters.pictures.report",
}


def starter_of(task: str) -> Starter:
    """The recipe for a task's starter."""
    return importlib.import_module(RECIPES[task]).STARTER


def starters(task: str = "all") -> list[Starter]:
    """The recipe for one task, or those for all of them, each once."""
    modules = dict.fromkeys(RECIPES.values()) if task == "all" else [RECIPES[task]]
    return [importlib.import_module(module).STARTER for module in modules]


def train(config: StarterConfig, given: frozenset[str] = frozenset()) -> Result | None:
    """Train the starter of a task; see `experiments.training.run.train`.

    Raises UserError, besides, for an `output` that cannot become the model's folder.
    """
    if config.output != "none":
        _check_output(Path(config.output))
    starter = starter_of(config.task)
    return training.train(_with_card(starter), config, given)


def _check_output(folder: Path) -> None:
    if folder.exists() and (
        not folder.is_dir()
        or (
            any(folder.iterdir())
            and not (folder / "config.json").exists()
            and not (folder / "model_index.json").exists()
        )
    ):
        raise UserError(
            f"output is {str(folder)!r}, which holds something else than a model; valid: a new folder, or "
            "that of a model to be replaced"
        )


def _replace(target: Path, folder: Path) -> None:
    """Make `target` a copy of a folder; what is there now is lost only when the copy is complete."""
    new = target.with_name(f".{target.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    shutil.copytree(folder, new)
    if target.exists():
        shutil.rmtree(target)
    new.rename(target)


def _with_card(starter: Starter) -> Family[Any, Any]:
    """The recipe's family, whose saved folder gets a model card and is left at `output` too."""

    def save(prepared: Training, network: nn.Module, folder: Path) -> SavedModel:
        saved = starter.family.save(prepared, network, folder)
        card.write(folder, starter, _cost(prepared, starter))
        output = prepared.config.output
        if output != "none":
            _replace(Path(output), folder)
            print(
                f"the model is in {output}; `python -m experiments.evaluate --task {prepared.config.task}` measures it"
            )
        return saved

    return dataclasses.replace(starter.family, save=save)


def _cost(prepared: Training, starter: Starter) -> dict[str, str]:
    """What the training took and made, for the model card."""
    history, config = prepared.state.history, prepared.config
    seconds = sum(epoch["epoch_seconds"] for epoch in history)
    facts = devices.describe(config.device)
    return {
        "parameters": f"{sum(value.numel() for value in prepared.state.network.parameters()):,}",
        "epochs": f"{len(history)}; the one kept is {prepared.best_epoch(history)}, chosen by `{prepared.selected_by}`",
        "time": f"{seconds / 60:.1f} minutes with {prepared.environment['threads']} CPU threads"
        if prepared.state.accelerator.device.type == "cpu"
        else f"{seconds / 60:.1f} minutes",
        "hardware": f"{facts.get('hardware', '')} ({facts.get('device_name', '')})",
        "arithmetic": config.precision,
        "data, sha256": f"`{prepared.identity.sha256}`",
        "commit": f"`{git_commit()}`",
        "again": f"`mlflow run . -e starter --env-manager local -P task={starter.tasks[0]}`",
    }
