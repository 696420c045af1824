"""What a process has come to: how far it is by what it printed, its curves by what it logged. No Streamlit here."""

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from tasks.runs import end_abandoned, find_run, open_store, readable_errors, tagged_runs
from tasks.texts import format_duration
from ui.running.processes import FINISHED, RUNNING, TAG, Process

COUNTED = re.compile(r"^\s*(?P<what>epoch\s+|\[)?(?P<done>\d{1,6})/(?P<all>\d{1,6})\b", re.MULTILINE)
# A warning and the line of code below it, as Python and logging write them.
LIBRARY = re.compile(r"Warning:|^\s+[\w.]+\($|\b(?:WARNING|INFO)\b|^\[\w+\] |\[\d+;\d+m")
FETCHED = re.compile(r"downloaded .* of .* \((\d{1,3})%\)")
MEASURABLE = 0.05  # of the work: an estimate from less is a guess
PARENT = "mlflow.parentRunId"
PARTS = ("train", "val")


@dataclass(frozen=True)
class LiveRun:
    """The MLflow run of a process.

    Attributes:
        status: RUNNING, FINISHED, FAILED or KILLED, which is also noted here for a process that could not do so.
        curve_of: the name of the run that the curves are of: of a comparison, the training at work.
        curves: values by epoch, by metric, such as `val_loss`.
    """

    run_id: str
    experiment_id: str
    name: str
    status: str
    curve_of: str
    curves: Mapping[str, Mapping[int, float]]

    def chart(self, what: str) -> dict[str, Mapping[int, float]]:
        """The training and validation curves whose metric ends with `what`, such as loss, with their shared name."""
        return {name: values for name, values in self.curves.items() if name.split("_", 1)[-1] == what}

    @property
    def kinds(self) -> list[str]:
        """What the curves are of, losses first: loss, accuracy (of tokens, of sequences)."""
        names = dict.fromkeys(name.split("_", 1)[-1] for name in self.curves)
        return sorted(names, key=lambda name: (name != "loss", name))


def live_run(process: Process) -> LiveRun | None:
    """The run of a process as it is now; None if it has made none (yet). Raises StoreUnreachableError."""
    with readable_errors():
        client = open_store()
        made = tagged_runs(client, TAG, process.id)  # newest first
        # A run that was resumed keeps the tag of the process that made it.
        resumed = process.values.get("resume", "none")
        above = resumed if resumed != "none" else next((run.data.tags.get(PARENT) for run in made), None)
        own = next((run for run in made if PARENT not in run.data.tags), None)
        own = own or (find_run(client, above) if above else None)
        if own is None:
            return None
        # The run of a study is of all its workers, of which this process was only one.
        if not process.active and process.entry != "tune":
            ended = [end_abandoned(client, run, "its process was killed") for run in (own, *made)]
            own = client.get_run(own.info.run_id) if any(ended) else own
        shown = next((run for run in (*made, own) if "val_loss" in run.data.metrics), own)
        keys = [key for key in shown.data.metrics if _is_curve(key)]
        curves = {
            key: {
                one.step: one.value
                for one in client.get_metric_history(shown.info.run_id, key)
                if math.isfinite(one.value)
            }
            for key in sorted(keys)
        }
    return LiveRun(
        run_id=own.info.run_id,
        experiment_id=own.info.experiment_id,
        name=own.info.run_name or own.info.run_id,
        status=own.info.status,
        curve_of=shown.info.run_name or shown.info.run_id,
        curves=curves,
    )


def _is_curve(key: str) -> bool:
    part, _, metric = key.partition("_")
    return part in PARTS and (metric == "loss" or metric.endswith("accuracy"))


def progress(process: Process, log: str) -> tuple[float, str] | None:
    """How far a process is, from 0 to 1 and as text, by the last count that it printed; None before it has counted."""
    if process.state == FINISHED:
        return 1.0, "done"
    counts = [match for match in COUNTED.finditer(log) if 0 < int(match["all"]) >= int(match["done"])]
    if not counts:
        return None
    last = counts[-1]
    done, total, what = int(last["done"]), int(last["all"]), last["what"] or ""
    if what == "[" and total == 1:
        return None  # the only one, and not done
    if what == "[":  # which one it is at, not how many are done
        return (done - 1) / total, f"{done} of {total}"
    return done / total, f"{'epoch ' if what else ''}{done} of {total}{'' if what else ' done'}"


def fetched(log: str) -> tuple[float, str] | None:
    """How far a download is, from 0 to 1 and as text, if that is what a program said last."""
    said = last_said(log).strip()
    found = FETCHED.match(said)
    return (min(1.0, int(found[1]) / 100), said) if found else None


def remaining(process: Process, done: float) -> str:
    """How long a process still takes at its pace so far; empty while too little is done to say."""
    if process.state != RUNNING or process.began is None or not MEASURABLE <= done < 1:
        return ""
    return f"about {format_duration((time.time() - process.began) * (1 - done) / done)} left"


def last_said(log: str) -> str:
    """The last line that a program of ours printed: libraries warn in between, which says nothing of how far it is."""
    lines = (line for line in reversed(log.split("\n")) if line.strip())
    return next((line for line in lines if not LIBRARY.search(line)), "")


def reason(process: Process, log: str) -> str:
    """Why a process failed, in its own last words."""
    lines = [line.strip() for line in log.split("\n") if line.strip()]
    if process.entry == "register":  # whose last line only counts
        why = [line for line in lines if line.startswith("not registered: ") or " is registered, but then: " in line]
        if why:
            return "\n".join(why)
    return lines[-1] if lines else f"it ended without a message (exit code {process.code})"


def duration(process: Process) -> str:
    """How long a process has worked, or waited if it has not begun."""
    seconds = max(0.0, (process.ended or time.time()) - (process.began or process.started))
    if process.ended is None and not process.active:
        return "an unknown time"  # it was killed with all that could have noted when
    return format_duration(seconds)
