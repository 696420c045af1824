"""One training without MLflow: the same stages, logged to a folder."""

import sys

from experiments.tracking.checkpoint import Checkpoint, CheckpointError
from experiments.tracking.recorder import Recorder
from experiments.training import autotune, devices
from experiments.training.continuation import restore
from experiments.training.family import Config, Family, Prepared, Result, Training
from experiments.training.run import begin, finish, run_epochs


def train_offline(family: Family[Config, Prepared], config: Config, recorder: Recorder) -> tuple[Result, bool]:
    """Train, evaluate and record one network, from where it was cut off; returns also whether it begins here.

    Raises UserError and TrainingError as `run.train`.
    """
    config, choice = autotune.settle(family, config)
    training = family.prepare(config, devices.make_accelerator(config.device, config.precision))
    training.speed_trial = recorder.record.speed_trial or str(choice)
    training.snapshots = recorder.snapshots
    checkpoint = _newest(recorder, training)
    if checkpoint is not None:
        restore(training.state, checkpoint, training.environment)
    recorder.rewind(training.state.epoch)
    begin(training, family.name, recorder, warn=False)
    recorder.log_environment(training.environment)
    try:
        run_epochs(training, recorder)
        return finish(family, training, recorder, promote=True), checkpoint is None
    except BaseException as stopped:  # whatever it was, a signal too, may be resumed from
        try:
            recorder.checkpoints.flush()
        except CheckpointError as error:
            stopped.add_note(str(error))  # what stopped it comes first: Ctrl-C stops the other trainings, too
        raise


def _newest(recorder: Recorder, training: Training) -> Checkpoint | None:
    """The newest usable checkpoint; None without one: the training then begins again."""

    def warn(text: object) -> None:
        print(f"warning: {text}", file=sys.stderr)

    try:
        return recorder.checkpoints.load_newest(lambda one: training.best_epoch(one.values["history"]), warn)
    except CheckpointError as error:
        warn(f"{training.title} begins again: {error}")
        return None
