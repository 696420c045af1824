"""A shared tracking server: the real `mlflow server` on PostgreSQL with proxied artifacts, from training to serving."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.pyfunc import load_model

from tasks import registry
from tests.support.postgresql import postgresql
from tests.support.runs import TINY, only_run
from tests.support.serving import post, serving
from tests.support.tracking_server import tracking_server


@pytest.mark.full
def test_a_training_against_a_server_on_postgresql_is_tracked_registered_and_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgresql() as database, tracking_server(database.create("mlflow"), tmp_path, monkeypatch) as server:
        command = [sys.executable, "-m", "experiments.train_cnn", *TINY]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
        assert done.returncode == 0, done.stderr
        assert "becomes champion" in done.stdout

        client, run = MlflowClient(), only_run()
        assert run.info.status == "FINISHED" and (run.info.artifact_uri or "").startswith("mlflow-artifacts:")
        assert [metric.step for metric in client.get_metric_history(run.info.run_id, "val_loss")] == [1, 2]
        # All that the run made went through the server to its folder: this machine could be thrown away.
        kept = server.artifacts / run.info.experiment_id / run.info.run_id / "artifacts"
        assert (kept / "checkpoints" / "epoch-0002" / "model.safetensors").is_file()
        assert (kept / "plots" / "loss_curve.png").is_file() and (kept / "config.json").is_file()
        assert not Path("mlruns").exists() and not Path("mlflow.db").exists()

        version = registry.champion("cnn-digits")
        assert version is not None and version.run_id == run.info.run_id
        model = load_model("models:/cnn-digits@champion")
        example = model.input_example
        assert example is not None
        here = model.predict(example)
        # `mlflow models serve` starts uvicorn by its name.
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        with serving("cnn-digits", environment, Path.cwd()) as address:
            status, answer = post(address, {"dataframe_split": example.to_dict(orient="split")})
        assert status == 200
        assert answer["predictions"][0]["label"] == here[0]["label"]
