"""One training of many: of a comparison, which resumes what was cut off, or of a search, which stops at validation."""

import sys
from collections.abc import Callable, Mapping, Sequence

from experiments.config import RunUnavailableError, UserError
from experiments.tracking.run import Tracker, abandon_run
from experiments.training import autotune, devices, run
from experiments.training.continuation import FREE_TO_CHANGE
from experiments.training.family import Config, Family, Prepared, Result
from experiments.training.state import Metrics


def train_one_of_many(
    family: Family[Config, Prepared],
    config: Config,
    parent: str,
    cut_off: Sequence[str],
    name: str,
    labels: Mapping[str, str] | None = None,
    promote: bool = True,
) -> Result:
    """Train one network of a comparison or a study, resuming the first of its `cut_off` runs that can be.

    The others are marked as FAILED; a message says that `name` begins again if a run cannot be resumed. Raises
    RunUnavailableError, with the runs as they were, if one of them is finished by now, another process has it, or the
    store does not answer; else as `train`.
    """
    given, result = frozenset(FREE_TO_CHANGE), None
    for run_id in cut_off:
        try:
            if result is None:
                result = run.train(family, config.replace(resume=run_id), given, parent, labels, promote)
                continue
        except RunUnavailableError:
            raise
        except UserError as error:  # refused before it was touched: no usable checkpoint, say
            print(f"warning: {name} begins again: {error}", file=sys.stderr)
        abandon_run(run_id, "cut off; another run took its place")
    result = result or run.train(family, config, given, parent, labels, promote)
    assert result is not None  # only other ranks have none
    return result


def try_out(
    family: Family[Config, Prepared],
    config: Config,
    tracker: Tracker,
    name: str,
    watch: Callable[[int, Metrics], bool],
) -> tuple[int, Metrics]:
    """Train one network for what it shows on validation data; the test data are not looked at, and nothing is kept.

    Args:
        config: as `family.decide` gives it.
        tracker: the run that gets settings and curves.
        watch: called after every epoch with its number and metrics; True ends the training.

    Returns the best epoch by validation, and its metrics. Raises UserError or TrainingError as `train` does.
    """
    config, choice = autotune.settle(family, config)
    training = family.prepare(config, devices.make_accelerator(config.device, config.precision))
    training.speed_trial = str(choice)
    fields, tags = training.config.model_dump(), run.run_tags(training)
    tracker.start(name, f"**{name}** is training.", fields, tags, training.speed_trial)
    ended = False

    def on_epoch_end(epoch: int, metrics: Metrics) -> None:
        nonlocal ended
        tracker.log_epoch(epoch, metrics)
        ended = watch(epoch, metrics)

    run.run_loop(training, tracker, on_epoch_end, solved=lambda metrics: ended or training.solved(metrics))
    best = training.best_epoch(training.state.history)
    return best, training.state.history[best - 1]
