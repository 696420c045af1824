"""The end of a training: its best epoch is tested, everything is logged, the model goes to the registry."""

import tempfile
from pathlib import Path

from experiments.tracking.register import Registration
from experiments.tracking.run import Tracker
from experiments.training.family import Config, Family, Prepared, Result
from experiments.training.state import evaluated_weights


def finish(family: Family[Config, Prepared], training: Prepared, tracker: Tracker, promote: bool) -> Result:
    """Evaluate the best epoch on the test data, which nothing has looked at before, and log all that follows."""
    tracker.settle()
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
            wanted = Registration({**training.tags(), **values, **training.identity.tags()}, metric, promote)
        model_uri, registry = tracker.deliver(saved, folder, test, best, wanted)
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
