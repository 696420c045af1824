"""A CNN training from its configuration to its report; `train_cnn` is the command line."""

import dataclasses
import shutil
import sys
from contextlib import ExitStack

from accelerate.utils import broadcast_object_list

from experiments import devices, resume
from experiments.checkpoint import Checkpoint
from experiments.classification import best_epoch, classification_step
from experiments.cnn_report import CnnResult, finish
from experiments.cnn_setup import Training, effective, prepare
from experiments.config import CnnConfig, ConfigError, UserError
from experiments.engine import Metrics, fit
from experiments.progress import Progress
from experiments.tracking import Tracker, artifact_disk, git_commit, tracked_run

EXPERIMENT = "cnn"


def train(config: CnnConfig, given: frozenset[str] = frozenset(), parent: str | None = None) -> CnnResult | None:
    """Train, evaluate, log and register one network; the result is None on all processes but the first.

    Args:
        given: the fields that a person set, which a resumed run must agree with.
        parent: id of a run under which this one is nested.

    Raises UserError before any run is made if the configuration cannot work, TrainingError after that.
    """
    if config.resume != "none":
        config = resume.resumed_config(config, given)
    config = effective(config)
    accelerator = devices.make_accelerator(config.device, config.precision)
    training = prepare(config, accelerator)
    checkpoint = _restore(training)
    if not accelerator.is_main_process:
        _fit(training, tracker=None)
        return None
    if checkpoint is None:
        _check_space(training)
    # A run to be resumed is claimed before it is touched: it may be in the hands of another process.
    with ExitStack() as stack:
        if config.resume != "none":
            stack.enter_context(resume.claim(config.resume))
        tracker = stack.enter_context(tracked_run(EXPERIMENT, config.resume, parent=parent))
        if config.resume == "none":
            stack.enter_context(resume.claim(tracker.run_id))
        return _tracked(training, tracker)


def _restore(training: Training) -> Checkpoint | None:
    """Go back to the newest checkpoint of the run to be resumed, the same one on all processes."""
    config, accelerator = training.config, training.state.accelerator
    if config.resume == "none":
        return None
    checkpoint = resume.find_checkpoint(config.resume, best_epoch)
    if accelerator.num_processes > 1:
        epochs = broadcast_object_list([checkpoint.epoch if checkpoint else 0])
        if epochs[0] != (checkpoint.epoch if checkpoint else 0):
            raise ConfigError("the processes do not see the same checkpoints; give them one disk")
    if checkpoint is not None:
        resume.restore(training.state, checkpoint, training.environment)
    return checkpoint


def _tracked(training: Training, tracker: Tracker) -> CnnResult:
    config, data = training.config, training.data
    tags = {
        "task": "image-classification",
        "model": config.model,
        "dataset": config.dataset,
        "git_commit": git_commit(),
        "data_sha256": data.sha256,
        "split_sha256": data.split_sha256,
        "data_verified": str(data.verified).lower(),
        **devices.describe(config.device),
    }
    name = f"{config.model} on {config.dataset}, seed {config.seed}"
    how_to_resume = f"Cut off? `mlflow run . -e cnn -P resume={tracker.run_id}` goes on with it."
    tracker.start(name, f"**{name}** is training. {how_to_resume}", dataclasses.asdict(config), tags)
    tracker.log_dataset(data.name, data.origin, data.sha256)
    if not data.verified:
        print(f"warning: {data.origin} is not known to be the official data; data_verified=false", file=sys.stderr)
    _announce(training, tracker)
    _fit(training, tracker)
    return finish(training, tracker)


def _announce(training: Training, tracker: Tracker) -> None:
    config, data = training.config, training.data
    parameters = sum(parameter.numel() for parameter in training.state.network.parameters())
    print(f"{config.model} ({parameters:,} parameters) on {config.dataset}: {len(data.train):,} training, "
          f"{len(data.val):,} validation, {len(data.test):,} test images")  # fmt: skip
    print(f"{config.device}, {config.precision}, {training.environment['threads']} threads; run {tracker.run_id}")


def _fit(training: Training, tracker: Tracker | None) -> None:
    config, state = training.config, training.state
    progress = Progress(config.epochs, len(training.batches), enabled=tracker is not None)

    def on_epoch_end(epoch: int, metrics: Metrics) -> None:
        if tracker is None:
            return
        # The checkpoint holds the metrics and comes first: after a crash in between, the store gets what it lacks.
        save_checkpoint(training, tracker, epoch)
        tracker.log_epoch(epoch, metrics)
        progress.epoch(epoch, metrics)

    if tracker is not None:
        for epoch, metrics in enumerate(state.history, start=1):
            tracker.log_epoch(epoch, metrics)
    fit(
        state,
        batches=training.batches.epoch,
        step=classification_step(config.label_smoothing),
        evaluate=training.evaluate,
        epochs=config.epochs,
        seed=config.seed,
        on_epoch_end=on_epoch_end,
        grad_clip=config.grad_clip,
        progress=progress.bar,
    )


def save_checkpoint(training: Training, tracker: Tracker, epoch: int) -> None:
    """Write the state after `epoch`; keep the last two and the best epoch as of each of them."""
    state = training.state
    values = {**state.values(), "environment": training.environment}
    tracker.checkpoints.save(epoch, state.tensors(), values)
    keep = {epoch, best_epoch(state.history)}
    if epoch > 1:
        keep |= {epoch - 1, best_epoch(state.history[:-1])}
    tracker.checkpoints.prune(keep)


def _check_space(training: Training) -> None:
    """Raise UserError if the disk cannot hold the checkpoints (four kept and one being written)."""
    weights = sum(value.nbytes for value in training.state.network.state_dict().values())
    needed = 5 * weights * (4 if training.config.ema_decay else 3)
    folder = artifact_disk(EXPERIMENT)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(f"{folder} has {free / 1e6:.1f} MB free, and the checkpoints need {needed / 1e6:.1f} MB")
