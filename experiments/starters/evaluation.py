"""Measuring starters on held-out data; each in a run of its own, so that one that fails holds up no other."""

import dataclasses
import re
import tempfile
from pathlib import Path

import torch

from experiments.config import EvaluateConfig, TrainingError, UserError
from experiments.starters import card
from experiments.starters.starter import Judgement, Starter
from experiments.starters.training import starters
from experiments.tracking.run import Tracker, git_commit, tracked_run
from experiments.training import devices
from tasks.base import ModelFolderError

EXPERIMENT = "evaluate"


def evaluate(config: EvaluateConfig) -> dict[str, Judgement]:
    """Measure the starters asked for, print and log their figures, by the starter's name.

    Raises UserError before anything is measured for a folder that is no model, and TrainingError at the end if a
    starter could not be measured; the others then are.
    """
    if config.folder != "auto" and config.task == "all":
        raise UserError(f"folder is {config.folder!r} for all tasks; valid: auto, or a single task with it")
    if config.threads:
        torch.set_num_threads(config.threads)
    wanted = starters(config.task)
    folders = {one.name: one.folder if config.folder == "auto" else Path(config.folder) for one in wanted}
    missing = [folder for folder in folders.values() if not folder.is_dir()]
    if missing and len(missing) == len(folders):
        raise UserError(f"{missing[0]} does not exist; valid: a model folder, as the entry point starter makes them")
    measured, failed = {}, {}
    for starter in wanted:
        try:
            measured[starter.name] = _measure(starter, folders[starter.name], config)
        except (UserError, ModelFolderError, TrainingError) as error:
            failed[starter.name] = str(error)
            print(f"{starter.name} was not measured: {error}\n")
    if failed:
        raise TrainingError(f"not measured: {', '.join(failed)}; the reasons stand above")
    return measured


def _measure(starter: Starter, folder: Path, config: EvaluateConfig) -> Judgement:
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist")
    with tracked_run(EXPERIMENT) as tracker:
        tags = {"task": starter.tasks[0], "model": starter.name, "git_commit": git_commit(), **devices.describe("cpu")}
        description = f"`{folder.name}` on held-out data."
        tracker.start(f"{starter.name}: held-out data", description, dataclasses.asdict(config), tags)
        print(f"{starter.name} ({', '.join(starter.tasks)})", flush=True)
        judgement = starter.judge(folder, Path(config.data_dir))
        print(table(judgement))
        if judgement.examples:
            print(f"\n{judgement.examples.strip()}")
        print()
        _log(tracker, judgement)
        if config.write:
            card.write_figures(folder, starter, judgement, f"{tags['hardware']} ({tags['device_name']})")
    return judgement


def table(judgement: Judgement) -> str:
    """The figures for a terminal."""
    width = max(len(figure.name) for figure in judgement.figures)
    lines = [f"  {one.name:{width}}  {one.value:9.{one.digits}f}  {one.beside}".rstrip() for one in judgement.figures]
    return "\n".join(lines)


def _log(tracker: Tracker, judgement: Judgement) -> None:
    metrics = {metric_name(figure.name): figure.value for figure in judgement.figures}
    tracker.log_final(metrics, step=0)
    if judgement.examples:
        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary) / "examples.md"
            file.write_text(judgement.examples, encoding="utf-8")
            tracker.log_file(file, "reports")


def metric_name(figure: str) -> str:
    """A figure's name as MLflow allows it: "EM on SQuAD (6 articles)" is em_on_squad_6_articles."""
    return re.sub(r"[^a-z0-9.]+", "_", figure.lower()).strip("_")
