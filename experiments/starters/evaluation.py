"""Measuring starters on held-out data; each in a run of its own, so that one that fails holds up no other."""

import re
import tempfile
from pathlib import Path

import torch

from experiments.config import EvaluateConfig, TrainingError, UserError
from experiments.starters import card
from experiments.starters.starter import Judgment, Starter
from experiments.starters.training import starters
from experiments.tracking.run import Tracker, git_commit, tracked_run
from experiments.training import devices
from tasks.base import ModelFolderError

EXPERIMENT = "evaluate"


def evaluate(config: EvaluateConfig) -> dict[str, Judgment]:
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


def _measure(starter: Starter, folder: Path, config: EvaluateConfig) -> Judgment:
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist")
    with tracked_run(EXPERIMENT) as tracker:
        tags = {"task": starter.tasks[0], "model": starter.name, "git_commit": git_commit(), **devices.describe("cpu")}
        description = f"`{folder.name}` on held-out data."
        tracker.start(f"{starter.name}: held-out data", description, config.model_dump(), tags)
        print(f"{starter.name} ({', '.join(starter.tasks)})", flush=True)
        judgment = starter.judge(folder, Path(config.data_dir))
        print(table(judgment))
        if judgment.examples:
            print(f"\n{judgment.examples.strip()}")
        print()
        _log(tracker, judgment)
        if config.write:
            card.write_figures(folder, starter, judgment, f"{tags['hardware']} ({tags['device_name']})")
    return judgment


def table(judgment: Judgment) -> str:
    """The figures for a terminal."""
    width = max(len(figure.name) for figure in judgment.figures)
    lines = [f"  {one.name:{width}}  {one.value:9.{one.digits}f}  {one.beside}".rstrip() for one in judgment.figures]
    return "\n".join(lines)


def _log(tracker: Tracker, judgment: Judgment) -> None:
    metrics = {metric_name(figure.name): figure.value for figure in judgment.figures}
    tracker.log_final(metrics, step=0)
    if judgment.examples:
        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary) / "examples.md"
            file.write_text(judgment.examples, encoding="utf-8")
            tracker.log_file(file, "reports")


def metric_name(figure: str) -> str:
    """A figure's name as MLflow allows it: "EM on SQuAD (6 articles)" is em_on_squad_6_articles."""
    return re.sub(r"[^a-z0-9.]+", "_", figure.lower()).strip("_")
