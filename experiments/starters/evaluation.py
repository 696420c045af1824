"""Measuring starters on held-out data; each in a run of its own, so that one that fails holds up no other."""

import re
import tempfile
from pathlib import Path

import torch

from experiments.config import EvaluateConfig, TrainingError, UserError
from experiments.config.names import STARTERS
from experiments.starters import card
from experiments.starters.starter import Starter, StarterEvaluation
from experiments.starters.training import starter_of
from experiments.tracking.run import git_commit, tracked_run
from experiments.training import devices
from tasks.base import ModelFolderError

EXPERIMENT = "evaluate"


def evaluate(config: EvaluateConfig) -> dict[str, StarterEvaluation]:
    """Measure the starters asked for, print and log their figures, by task.

    Raises UserError before anything is measured for a folder that is no model, and TrainingError at the end if a
    starter could not be measured; the others then are.
    """
    if config.folder != "auto" and config.task == "all":
        raise UserError(f"folder is {config.folder!r} for all tasks; valid: auto, or a single task with it")
    if config.threads:
        torch.set_num_threads(config.threads)
    starters = [starter_of(task) for task in (STARTERS if config.task == "all" else (config.task,))]
    folders = [one.folder if config.folder == "auto" else Path(config.folder) for one in starters]
    if not any(folder.is_dir() for folder in folders):
        raise UserError(f"{folders[0]} does not exist; valid: a model folder, as the entry point starter makes them")
    measured, failed = {}, []
    for starter, folder in zip(starters, folders, strict=True):
        try:
            measured[starter.task] = _measure(starter, folder, config)
        except (UserError, ModelFolderError, TrainingError) as error:
            failed.append(starter.task)
            print(f"{starter.task} was not measured: {error}\n")
    if failed:
        raise TrainingError(f"not measured: {', '.join(failed)}; the reasons stand above")
    return measured


def _measure(starter: Starter, folder: Path, config: EvaluateConfig) -> StarterEvaluation:
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist")
    machine = devices.describe("cpu")
    with tracked_run(EXPERIMENT) as tracker:
        tags = {"task": starter.task, "model": starter.name, "git_commit": git_commit(), **machine}
        description = f"`{folder.name}` on held-out data."
        tracker.start(f"{starter.name}: held-out data", description, config.model_dump(), tags)
        found = starter.evaluate(folder, Path(config.data_dir))
        print(table(starter.task, found), flush=True)
        tracker.log_final({metric_name(figure.name): figure.value for figure in found.figures}, step=0)
        if found.examples:
            with tempfile.TemporaryDirectory() as temporary:
                file = Path(temporary) / "examples.md"
                file.write_text(found.examples, encoding="utf-8")
                tracker.log_file(file, "reports")
        if config.write:
            card.write_figures(folder, starter.task, found, f"{machine['hardware']} ({machine['device_name']})")
    return found


def table(task: str, found: StarterEvaluation) -> str:
    """The figures and examples for a terminal."""
    width = max(len(figure.name) for figure in found.figures)
    lines = [f"  {one.name:{width}}  {one.value:9.{one.digits}f}  {one.beside}".rstrip() for one in found.figures]
    return "\n".join([task, *lines, "", *([found.examples.strip(), ""] if found.examples else [])])


def metric_name(figure: str) -> str:
    """A figure's name as MLflow allows it: "EM on SQuAD (6 articles)" is em_on_squad_6_articles."""
    return re.sub(r"[^a-z0-9.]+", "_", figure.lower()).strip("_")
