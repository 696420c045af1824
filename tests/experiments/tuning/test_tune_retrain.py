"""The best settings of a study, retrained over seeds: which becomes champion, and what is resumed."""

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from experiments import tune
from experiments.config import TuneConfig
from experiments.tuning.job import make_job
from experiments.tuning.retrain import Retrained, promote
from tests.support.fake_trials import TINY
from tests.support.runs import all_runs

pytestmark = pytest.mark.full


@pytest.mark.parametrize(
    ("mean_of", "expected"),
    [((0.9, 0.7), "champion 1 of cnn-digits stays"), ((0.95, 0.9), "version 3 becomes champion")],
)
def test_the_mean_over_seeds_decides_and_not_the_luckiest(
    mean_of: tuple[float, ...], expected: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient()
    job = make_job(TuneConfig(epochs=1, train_size=200, threads=1))
    tags = {"val_accuracy": "0.85", "data_sha256": job.data.sha256, "split_sha256": job.data.split_sha256}
    client.create_registered_model("cnn-digits")
    runs = [client.create_run("0").info.run_id for _ in range(3)]
    for run_id in runs:
        client.create_model_version("cnn-digits", f"runs:/{run_id}/model", run_id, tags=tags)
    client.set_registered_model_alias("cnn-digits", "champion", "1")
    # Of the two with the highest validation result that with the lower loss is the best.
    trainings = [Retrained(1, runs[1], mean_of[1], 0.0, 0.5), Retrained(2, runs[2], mean_of[0], 0.0, 0.1)]
    assert expected in promote(job, trainings)
    kept = client.get_model_version_by_alias("cnn-digits", "champion")
    assert (kept.run_id == runs[2]) == ("becomes" in expected)


def test_a_cut_off_retraining_is_resumed_and_the_finished_ones_stay(
    store: Path, fake: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from experiments.training import run as training

    arguments = [*TINY, "--epochs", "1", "--trials", "1", "--seeds", "2"]
    honest = training.save_checkpoint

    def save(prepared: Any, tracker: Any, epoch: int) -> None:
        honest(prepared, tracker, epoch)
        if prepared.config.seed == 2:
            raise RuntimeError("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(training, "save_checkpoint", save)
        with pytest.raises(RuntimeError, match="cut off"):
            tune.main(arguments)
    assert MlflowClient().search_model_versions("name = 'cnn-digits'")[0].aliases == []  # not all seeds are there
    before = {run.info.run_id for run in all_runs()}
    result = tune.main(arguments)
    assert result is not None and {run.info.run_id for run in all_runs()} == before
    assert len(result.trainings) == 2 and "is the first and becomes champion" in result.promotion
