"""One training from its configuration to the registry, the same way for every family of models.

Only `train` needs MLflow, and loads it: the other stages also log to a `Recorder`, where there is none.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelerate.utils import broadcast_object_list

from experiments.config import ConfigError, UserError
from experiments.data.images import kept_in_memory
from experiments.tracking.checkpoint import Checkpoint
from experiments.tracking.record import SPEED_TRIAL, Registration, git_commit
from experiments.training import autotune, devices
from experiments.training.continuation import restore
from experiments.training.family import Config, Family, Prepared, Result, Training
from experiments.training.loop import fit
from experiments.training.micro_batch import by_items
from experiments.training.progress import Progress
from experiments.training.speed_trial import Setting
from experiments.training.state import Metrics, evaluated_weights

if TYPE_CHECKING:
    from experiments.tracking.recorder import Recorder
    from experiments.tracking.run import Tracker

    Log = Tracker | Recorder


def train(
    family: Family[Config, Prepared],
    config: Config,
    given: frozenset[str] = frozenset(),
    parent: str | None = None,
    labels: Mapping[str, str] | None = None,
    promote: bool = True,
) -> Result | None:
    """Train, evaluate, log and register one network; the result is None on all ranks but 0.

    Args:
        given: the fields that the user set, which a resumed run must agree with.
        parent: id of a run under which this one is nested.
        labels: tags that the run has from its first moment.
        promote: whether a registered model becomes champion if it is better; else that is the caller's business.

    Raises UserError before any run is made if the configuration cannot work, TrainingError after that.
    """
    from experiments.tracking.run import tracked_run
    from experiments.training import resume

    if config.resume != "none":
        config = resume.resumed_config(config, given)
    with ExitStack() as preparing:
        preparing.enter_context(kept_in_memory())  # a trial and the training itself read the data once
        config, choice = autotune.settle(family, family.decide(config))
        accelerator = devices.make_accelerator(config.device, config.precision)
        if not accelerator.is_main_process:
            preparing.enter_context(devices.failures_shared(accelerator))
        training = family.prepare(config, accelerator)
        training.speed_trial = str(choice)
        checkpoint = _restore(training)
        if not accelerator.is_main_process:
            run_epochs(training, tracker=None)
            return None
    if checkpoint is None:
        _check_space(training, family.name)
    # A run to be resumed is claimed before it is touched: it may be in the hands of another process.
    with ExitStack() as claimed, ExitStack() as stack:  # the claim is given back after the run has its end
        if config.resume != "none":
            claimed.enter_context(resume.claim(config.resume))
        tracker = stack.enter_context(tracked_run(family.name, config.resume, parent=parent, tags=labels))
        if config.resume == "none":
            claimed.enter_context(resume.claim(tracker.run_id))
        begin(training, family.name, tracker, warn=parent is None)
        training.snapshots = tracker.snapshots
        if checkpoint is not None:
            tracker.fetch_snapshots()
        stack.enter_context(devices.failures_shared(accelerator))
        run_epochs(training, tracker)
        return finish(family, training, tracker, promote)


def finish(family: Family[Config, Prepared], training: Prepared, tracker: Log, promote: bool) -> Result:
    """Evaluate the best epoch on the test data, which nothing has looked at before, and log all that follows."""
    tracker.flush()
    history, metric = training.state.history, training.selected_by
    best = training.best_epoch(history)
    network = training.state.network
    network.load_state_dict(evaluated_weights(tracker.checkpoints.load(best).tensors))
    with tempfile.TemporaryDirectory() as temporary:
        artifacts, folder = Path(temporary) / "artifacts", Path(temporary) / "model"
        test = family.test(training, network, best, artifacts)
        tracker.log_files(artifacts)
        tracker.upload_checkpoints()
        saved = family.save(training, network, folder)
        metrics = {**{name: value for name, value in history[best - 1].items() if name.startswith("val_")}, **test}
        wanted = None
        if training.config.register:
            values = {name: repr(metrics[name]) for name in (metric, metric.replace("val_", "test_"))}
            champion = getattr(training.config, "champion", None)
            tags = {**training.tags(), **values, **training.identity.tags()}
            wanted = Registration(tags, metric, promote and champion is not False, force=champion is True)
        model_uri, registry = tracker.log_and_register(saved, folder, test, best, wanted)
        result = Result(
            run_id=tracker.run_id,
            name=training.title,
            best_epoch=best,
            metrics=metrics,
            train_seconds=sum(epoch["epoch_seconds"] for epoch in history),
            tracking_seconds=tracker.seconds,
            model_uri=model_uri,
            registry=registry,
            columns=training.columns,
        )
        tracker.describe(family.describe(training, result), {"best_epoch": str(best)})
    return result


def _restore(training: Training) -> Checkpoint | None:
    """Go back to the newest checkpoint of the run to be resumed, the same one on all processes."""
    from experiments.training import resume

    config, accelerator = training.config, training.state.accelerator
    if config.resume == "none":
        return None
    checkpoint = resume.find_checkpoint(config, training.identity, training.best_epoch)
    if accelerator.num_processes > 1:
        epochs = broadcast_object_list([checkpoint.epoch if checkpoint else 0])
        if epochs[0] != (checkpoint.epoch if checkpoint else 0):
            raise ConfigError("the processes do not see the same checkpoints; give them one disk")
    if checkpoint is not None:
        restore(training.state, checkpoint, training.environment)
    return checkpoint


def begin(training: Training, entry_point: str, tracker: Log, warn: bool = True) -> None:
    """Log and print what is known before the first epoch; without `warn` the data's warnings have been given before."""
    config, data = training.config, training.identity
    name = training.title
    task = getattr(config, "task", "")  # chooses the recipe of a starter
    what = f"{entry_point} --env-manager local{task and f' -P task={task}'}"
    command = f"mlflow run . -e {what} -P resume={tracker.run_id}"
    note = f"**{name}** is training. Cut off? `{command}` resumes it."
    tracker.start(name, note, config.model_dump(), run_tags(training), training.speed_trial)
    tracker.resumed_by = command
    tracker.log_dataset(data.name, data.origin, data.sha256)
    if training.data_report is not None:
        tracker.log_json("reports/data_report.json", training.data_report)
    for warning in training.warnings if warn else ():
        print(f"warning: {warning}", file=sys.stderr)
    print(training.summary())
    setting = Setting(config.precision, config.memory_format, config.threads)
    why = f" ({training.speed_trial})" if training.speed_trial else ""
    print(f"{config.device}, {setting}{why}; run {tracker.run_id}")


def run_tags(training: Training) -> dict[str, str]:
    return {
        **training.tags(),
        "parameters": str(sum(parameter.numel() for parameter in training.state.network.parameters())),
        "git_commit": git_commit(),
        **training.identity.tags(),
        **devices.describe(training.config.device),
        **({SPEED_TRIAL: training.speed_trial} if training.speed_trial else {}),
    }


def run_epochs(training: Training, tracker: Log | None) -> None:
    """Train the epochs that are left, with a checkpoint and a line for each; only rank 0 has a tracker."""
    config, state = training.config, training.state
    progress = Progress(config.epochs, len(training.batches), training.selected_by, enabled=tracker is not None)

    def on_epoch_end(epoch: int, metrics: Metrics) -> None:
        if tracker is None:
            return
        # The checkpoint holds the metrics and comes first: after a crash in between, the store gets what it lacks.
        save_checkpoint(training, tracker, epoch)
        tracker.log_epoch(epoch, metrics)
        _draw_snapshot(training, tracker, epoch)
        progress.epoch(epoch, metrics)

    if tracker is not None:
        for epoch, metrics in enumerate(state.history, start=1):
            tracker.log_epoch(epoch, metrics)
        if state.epoch:  # cut off between the checkpoint and the drawing
            _draw_snapshot(training, tracker, state.epoch)
    run_loop(training, tracker, on_epoch_end, solved=training.solved, progress=progress.bar)


def run_loop(
    training: Training, tracker: Log | None, on_epoch_end: Callable[[int, Metrics], None], **options: Any
) -> None:
    """The training loop; `options` go to `fit`."""
    config = training.config

    def say_smaller(size: int) -> None:
        text = f"out of memory: continuing with {size} examples at a time; batch_size stays {config.batch_size}"
        print(f"warning: {text}", file=sys.stderr)
        if tracker is not None:
            tracker.tag(micro_batch=str(size))

    fit(
        training.state,
        batches=training.batches.epoch,
        step=training.step,
        evaluate=training.evaluate,
        epochs=config.epochs,
        seed=config.seed,
        on_epoch_end=on_epoch_end,
        grad_clip=config.grad_clip,
        divide=by_items if training.divisible else None,
        on_smaller=say_smaller,
        on_epoch_start=training.start_epoch,
        **options,
    )


def _draw_snapshot(training: Training, tracker: Log, epoch: int) -> None:
    training.snapshot(epoch, tracker.snapshots)
    tracker.log_snapshots()


def save_checkpoint(training: Training, tracker: Log, epoch: int) -> None:
    """Write the state after `epoch`; keep the last two and the best epoch as of each of them."""
    state = training.state
    values = {**state.values(), "environment": training.environment}
    tracker.checkpoints.save(epoch, state.tensors(), values)
    keep = {epoch, training.best_epoch(state.history)}
    if epoch > 1:
        keep |= {epoch - 1, training.best_epoch(state.history[:-1])}
    tracker.checkpoints.prune(keep)


def _check_space(training: Training, experiment: str) -> None:
    """Raise UserError if the disk cannot hold the checkpoints (four kept and one being written)."""
    from experiments.tracking.store import artifact_disk

    weights = sum(value.nbytes for value in training.state.network.state_dict().values())
    needed = 5 * weights * (4 if training.config.ema_decay else 3)
    folder = artifact_disk(experiment)
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(f"{folder} has {free / 1e6:.1f} MB free, and the checkpoints need {needed / 1e6:.1f} MB")
