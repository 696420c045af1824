"""The report of a study: figures, trials as CSV, the best settings as a command, one HTML page, all on its run."""

import json
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from experiments.config import FAMILIES
from experiments.reports.page import Section, Table, render
from experiments.reports.statistics import t_interval
from experiments.reports.tables import to_csv
from experiments.tracking.run import Tracker
from experiments.tracking.store import artifact_path
from experiments.training.continuation import FREE_TO_CHANGE
from experiments.tuning import storage
from experiments.tuning.figures import draw, parameter_importance
from experiments.tuning.job import TuningJob
from experiments.tuning.retrain import Retrained
from experiments.tuning.space import shown, written
from experiments.tuning.study import EPOCH, FINISHED, LOSS, RUN, Counts, Study
from tasks.parameters import typed

PAGE = "reports/study.html"
NOTES = (
    "All trials are compared on validation data, by the best epoch of each; the test data were read only by the "
    "trainings of the best settings over several seeds, once each.",
    "The value of the best trial is the highest of many, and so too high; the mean over seeds that no trial had is "
    "what to expect, and it decides whether a champion is replaced.",
    "Pruned trials were ended early because others were further at the same epoch; figures show the best they had by "
    "then. A trial whose loss became infinite counts as pruned.",
    "Importance: functional ANOVA (Hutter et al. 2014) over the trials named in the figure. It describes this space "
    "and these trials, and with few of them it is a hint at most.",
)


@dataclass(frozen=True)
class TuneResult:
    """What came out of a study."""

    run_id: str
    study: str
    counts: Counts
    metric: str
    best: FrozenTrial
    recipe: FrozenTrial | None
    trainings: tuple[Retrained, ...]
    promotion: str
    command: str
    importance: Mapping[str, float]
    tracking_seconds: float
    page_uri: str

    def lines(self) -> list[str]:
        """The findings, one a line."""
        metric, counts = self.metric, self.counts
        failed = f"; {counts.failed} more were cut off or failed" if counts.failed else ""
        lines = [
            f"{counts.finished} trials: {counts.complete} complete, {counts.pruned} pruned{failed}",
            f"best: trial {self.best.number} with validation {metric} {self.best.value:.4f} in epoch "
            f"{self.best.user_attrs[EPOCH]}: "
            + ", ".join(f"{name} {shown(value)}" for name, value in self.best.params.items()),
        ]
        if self.recipe is not None:
            lines.append(f"the recipe's settings (trial {self.recipe.number}): {_reached(self.recipe)}")
        if self.trainings:
            val, test = (
                t_interval([getattr(one, part) for one in self.trainings]).format(lambda it: f"{min(1.0, it):.4f}")
                for part in ("val", "test")
            )
            seeds = ", ".join(str(one.seed) for one in self.trainings)
            lines.append(f"retrained with seeds {seeds}: validation {metric} {val}; test {metric} {test}")
        lines.append(f"registry: {self.promotion}")
        if self.importance:
            named = ", ".join(f"{name} {share:.2f}" for name, share in list(self.importance.items())[:4])
            lines.append(f"most important: {named}")
        return lines

    def table(self) -> str:
        """The result for a terminal."""
        timing = f"tracking this worker's trials took {self.tracking_seconds:.1f} s"
        return "\n".join(["", *self.lines(), timing, f"train it: {self.command}", f"report: {self.page_uri}"])


def _reached(trial: FrozenTrial) -> str:
    """What a trial came to; it has no value if it diverged in its first epoch."""
    if trial.value is None:
        return "diverged in the first epoch"
    return f"{trial.value:.4f}{' when it was pruned' if trial.state == TrialState.PRUNED else ''}"


def report(
    study: Study, tracker: Tracker, best: FrozenTrial, trainings: Sequence[Retrained], promotion: str, tracking: float
) -> TuneResult:
    """Draw, write and log the report of the finished trials, and sum it up on the study's run."""
    job = study.job
    trials = study.trials()
    recipe = next((one for one in trials if one.user_attrs.get("recipe") and one.state in FINISHED), None)
    result = TuneResult(
        tracker.run_id,
        job.config.study,
        study.counts(),
        job.metric_name,
        best,
        recipe,
        tuple(trainings),
        promotion,
        command_line(job, best.params),
        parameter_importance(trials),
        tracking,
        artifact_path(tracker.run_id, PAGE),
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        figures = draw(folder / "plots", trials, job.config.study, f"validation {job.metric_name}")
        (folder / "reports").mkdir()
        (folder / "reports" / "trials.csv").write_text(trials_csv(job, trials))
        chosen = {"trial": best.number, job.metric: best.value, "settings": best.params, "command": result.command}
        (folder / "reports" / "best.json").write_text(json.dumps(chosen, indent=1))
        (folder / PAGE).write_text(_page(study, result, trials, figures), encoding="utf-8")
        tracker.log_files(folder)
    state = "finished" if result.counts.finished >= job.config.trials else "stopped by its timeout"
    tags = {"study_state": state, "trials_finished": str(result.counts.finished), "best_trial": str(best.number)}
    head = f"**Study {job.config.study}**, {state}. The whole report is the artifact `{PAGE}`."
    tracker.describe("\n\n".join([head, *result.lines(), f"    {result.command}"]), tags)
    return result


def command_line(job: TuningJob, params: Mapping[str, Any]) -> str:
    """What to type to train with these settings: all that differs from the recipe."""
    config = job.base.replace(**params)
    identity = FAMILIES[job.config.kind].identity
    standard = job.family.decide(type(config)(**{name: getattr(config, name) for name in identity}))
    left_out = (FREE_TO_CHANGE - {"data_dir"}) | {"seed"}
    parts = f"mlflow run . -e {job.entry_point} --env-manager local --experiment-name {job.entry_point}".split()
    for name, value in config.model_dump().items():
        if name in identity or (name not in left_out and value != getattr(standard, name)):
            parts += ["-P", f"{name}={typed(value)}"]
    return shlex.join(parts)


def trials_csv(job: TuningJob, trials: Sequence[FrozenTrial]) -> str:
    """Every trial with its settings."""
    rows = []
    for trial in trials:
        notes = trial.user_attrs if trial.state in FINISHED else {}  # one tried again has those of the one before
        rows.append(
            {
                "trial": trial.number,
                "state": trial.state.name.lower(),
                job.metric: trial.value,
                "epochs": len(trial.intermediate_values),
                "kept_epoch": notes.get(EPOCH),
                "val_loss": notes.get(LOSS),
                "seconds": f"{trial.duration.total_seconds():.1f}" if trial.duration else None,
                "retry_of": trial.system_attrs.get("retry_history", [None])[-1],
                "run_id": trial.user_attrs.get(RUN),
                **{name: trial.params.get(name) for name in job.space},
            }
        )
    return to_csv(rows)


def _page(study: Study, result: TuneResult, trials: Sequence[FrozenTrial], figures: Sequence[tuple[str, Path]]) -> str:
    job = study.job
    sections = [
        Section("The best settings", result.lines(), code=result.command),
        Section("Figures", figures=figures),
        Section("Trials", tables=[_trials_table(job, trials, result.best.number)]),
    ]
    if result.trainings:
        rows = [[str(one.seed), f"{one.val:.4f}", f"{one.test:.4f}", one.run_id] for one in result.trainings]
        table = Table(("seed", "validation", "test", "run"), rows)
        sections.append(Section("The best settings retrained", tables=[table]))
    facts = {
        "study run": result.run_id,
        "storage": storage.shown(study.url),
        "data": f"{job.data.name}, SHA-256 {job.data.sha256[:12]}...",
        "sampler and pruner": f"{job.config.sampler}, {job.config.pruner}",
        "search": ", ".join(f"{name} {written(part)}" for name, part in job.space.items()),
    }
    return render(f"Study {result.study}", sections, facts, NOTES)


def _trials_table(job: TuningJob, trials: Sequence[FrozenTrial], best: int) -> Table:
    """Complete trials first, the best of each state first."""
    ordered = sorted(
        trials,
        key=lambda one: (one.state != TrialState.COMPLETE, one.state not in FINISHED, -(one.value or 0.0), one.number),
    )
    rows = [
        [
            str(trial.number),
            trial.state.name.lower(),
            "" if trial.value is None else f"{trial.value:.4f}",
            str(len(trial.intermediate_values)),
            *(shown(trial.params[name]) if name in trial.params else "" for name in job.space),
        ]
        for trial in ordered
    ]
    marks = {place: "best" for place, trial in enumerate(ordered) if trial.number == best}
    return Table(["trial", "state", job.metric, "epochs", *job.space], rows, marks=marks)
