"""The end of a training: its best epoch is tested, everything is logged, the model goes to the registry."""

import tempfile
from pathlib import Path

from experiments.tracking.register import Delivery, Registration
from experiments.tracking.run import Tracker
from experiments.training.family import Config, Family, Prepared, Result, SavedModel, Training
from experiments.training.state import Metrics, evaluated_weights


def finish(family: Family[Config, Prepared], training: Prepared, tracker: Tracker, promote: bool) -> Result:
    """Evaluate the best epoch on the test data, which nothing has looked at before, and log all that follows."""
    tracker.settle()
    history = training.state.history
    best = training.best_epoch(history)
    network = training.state.network
    network.load_state_dict(evaluated_weights(tracker.checkpoints.load(best).tensors))
    with tempfile.TemporaryDirectory() as temporary:
        artifacts, folder = Path(temporary) / "artifacts", Path(temporary) / "model"
        test = family.test(training, network, best, artifacts)
        tracker.log_files(artifacts)
        tracker.upload_checkpoints()
        saved = family.save(training, network, folder)
        metrics = {**{k: v for k, v in history[best - 1].items() if k.startswith("val_")}, **test}
        delivery = Delivery(
            task=saved.task,
            name=saved.name,
            input_example=saved.input_example,
            params=saved.params,
            tested=dict(test),
            step=best,
            registration=_registration(training, saved, metrics, promote) if training.config.register else None,
        )
        delivered = tracker.deliver(delivery, folder)
        result = Result(
            run_id=tracker.run_id,
            name=training.title,
            best_epoch=best,
            metrics=metrics,
            train_seconds=sum(epoch["epoch_seconds"] for epoch in history),
            tracking_seconds=tracker.seconds,
            model_uri=delivered.model_uri,
            registry=delivered.decision,
            columns=training.columns,
        )
        tracker.describe(family.describe(training, result), {"best_epoch": str(best)})
    return result


def _registration(training: Training, saved: SavedModel, metrics: Metrics, promote: bool) -> Registration:
    data, metric = training.identity, training.selected_by
    tested = metric.replace("val_", "test_")
    tags = {
        **training.tags(),
        metric: repr(metrics[metric]),
        tested: repr(metrics[tested]),
        "data_sha256": data.sha256,
        "split_sha256": data.split_sha256,
        "data_verified": str(data.verified).lower(),
    }
    return Registration(saved.registered_name, tags, metric, promote)
