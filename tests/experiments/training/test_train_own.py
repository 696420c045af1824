"""Own pictures through the programs: trained, reported, registered, served; compared, tuned, measured as others."""

import base64
import json
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from optuna.distributions import CategoricalDistribution

from experiments import compare, train_cnn
from experiments.cnn.recipes import resolve
from experiments.comparison import duration as durations
from experiments.comparison import grid as grids
from experiments.config import BenchmarkConfig, CnnConfig, CompareConfig, ConfigError, TuneConfig
from experiments.data import folders
from experiments.speed.plan import make_plan
from experiments.training import run as training
from experiments.tuning.job import make_job
from tasks import registry
from tasks.image_classification import ImageClassification
from tests.support.own_pictures import files, in_folder, in_zip, picture
from tests.support.runs import artifacts, children, only_run

LABELS = ("cat", "dog", "owl")


@pytest.fixture
def pets(store: Path) -> str:
    folders.count_training.cache_clear()
    return in_folder(store / "my pets", files(40, LABELS) | {"cat/notes.txt": b"x"})


@pytest.mark.figures
def test_own_pictures_are_trained_registered_and_served_at_their_size(
    pets: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = train_cnn.main(["--dataset", pets, "--image_size", "64", "--model", "vgg_small", "--epochs", "6"])
    printed = capsys.readouterr()
    assert result is not None and result.metrics["test_accuracy"] > 0.9
    assert "vgg_small" in printed.out and "on my-pets: 84 training, 12 validation, 24 test images" in printed.out
    assert (
        "warning: 1 file left out: 'cat/notes.txt' is not a PNG or JPEG" in printed.err
        and "official" not in printed.err
    )
    run = only_run()
    assert run.data.tags["dataset"] == "my-pets" and run.info.run_name == "vgg_small on my-pets, seed 0"
    report = json.loads((artifacts(run) / "reports/data_report.json").read_text())
    assert report["counts"]["cat"] == {"train": 28, "val": 4, "test": 8} and report["left_out"]
    page = (artifacts(run) / "reports/data_report.html").read_text()
    assert "is not a PNG or JPEG" in page and "data:image/png" in page
    assert (artifacts(run) / "plots/data_sample.png").stat().st_size > 5000
    # Served, at the size that it was trained with.
    task = registry.load("cnn-my-pets", "cpu")
    image = base64.b64encode(picture("owl", 5555, (300, 200))).decode()
    (answer,) = task.run([{"image": image}], {"explain": True, "layers": True})
    assert answer["label"] == "owl" and set(answer["scores"]) == set(LABELS) and answer["layers"]
    assert isinstance(task, ImageClassification) and task.pixels(image).shape == (3, 64, 64)
    loaded = mlflow.pyfunc.load_model("models:/cnn-my-pets@champion")
    assert loaded.predict([{"image": image}])[0]["label"] == "owl"


def test_a_run_on_pictures_that_have_changed_is_not_resumed(pets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(training, "finish", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            train_cnn.main(["--dataset", pets, "--epochs", "1"])
    run_id = only_run().info.run_id
    Path(pets, "cat/3.png").write_bytes(picture("dog", 77))
    with pytest.raises(ConfigError, match=f"dataset is '{pets}', and its data_sha256 is .*, that of run {run_id}"):
        train_cnn.main(["--resume", run_id])
    Path(pets, "cat/3.png").write_bytes(files(40, LABELS)["cat/3.png"])
    assert train_cnn.main(["--resume", run_id]) is not None


def test_files_that_were_misclassified_are_named(pets: str) -> None:
    train_cnn.main(["--dataset", pets, "--epochs", "1", "--learning_rate", "1e-6", "--register", "no"])
    reports = artifacts(only_run()) / "reports"
    wrong = pd.read_csv(reports / "test_mistakes.csv")
    assert len(wrong) and [Path(file).parts[0] for file in wrong["file"]] == wrong["label"].tolist()
    assert (wrong["label"] != wrong["predicted"]).all() and wrong["probability"].is_monotonic_decreasing
    assert all(Path(pets, file).is_file() for file in wrong["file"])
    kept = np.load(reports / "test_mistakes.npz")
    assert set(kept["files"]) == set(wrong["file"])
    assert wrong["file"][0] in (reports / "data_report.html").read_text()


def test_own_pictures_are_compared_beside_others(pets: str, store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durations, "seconds_per_example", lambda _: 1e-4)
    archive = in_zip(store / "birds.zip", files(40, ("crow", "jay")))
    tiny = ["--models", "lenet5", "--epochs", "1", "--threads", "1", "--register", "no"]
    result = compare.main([*tiny, "--datasets", f"digits,{pets},{archive}"])
    names = {run.data.tags["dataset"] for run in children(result.run_id)}
    assert names == {"digits", "my-pets", "birds"}
    parent = MlflowClient().get_run(result.run_id)
    assert (artifacts(parent) / "plots/my-pets_confusion.png").exists() and parent.data.params["storage"] != "auto"
    with pytest.raises(ConfigError, match="datasets has two that are called the same"):
        compare.main([*tiny, "--datasets", f"{archive},{in_folder(store / 'birds', files(5))}"])


def test_a_comparison_of_pictures_that_have_changed_is_another_one(pets: str) -> None:
    def digest(datasets: str) -> str:
        return grids.make_grid(CompareConfig(datasets=datasets, models="lenet5", epochs=1)).digest()

    before, public = digest(pets), digest("digits")
    assert digest(pets) == before
    Path(pets, "cat/3.png").write_bytes(picture("dog", 77))
    assert digest(pets) != before and digest("digits") == public


def test_own_pictures_are_tuned_and_measured(pets: str) -> None:
    job = make_job(TuneConfig(dataset=pets, model="resnet20", image_size=64, threads=1))
    assert (job.config.study, job.registered_name) == ("cnn-resnet20-my-pets", "cnn-my-pets")
    assert job.base.image_size == 64 and job.space["batch_size"] == CategoricalDistribution((32, 64))
    plan = make_plan(BenchmarkConfig(dataset=pets, model="lenet5", batch_sizes="8", threads=1))
    assert plan.title.startswith("lenet5 on my-pets")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--dataset", "pets"], "dataset is 'pets'; valid: digits, .*the path of your own pictures"),
        (["--image_size", "64"], "image_size is 64; valid: 32 for digits"),
        (["--dataset", "{pets}", "--image_size", "64"], "image_size is 64; lenet5 takes images of 32 px; valid"),
        (["--dataset", "{pets}", "--image_size", "64", "--model", "alexnet"], "takes images of 32 px, or from 128 px"),
        (["--dataset", "{pets}", "--val_size", "2"], "val_size is 2; valid for this data set: 3 to"),
    ],
)
def test_what_does_not_fit_together_is_said_in_a_line(arguments: list[str], expected: str, pets: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        train_cnn.main([argument.format(pets=pets) for argument in arguments])


def test_batches_and_epochs_suit_the_number_of_pictures(pets: str) -> None:
    small = resolve(CnnConfig(dataset=pets, model="resnet20"))
    assert (small.batch_size, small.epochs, small.crop, small.flip) == (8, 15, 2, False)
    assert resolve(CnnConfig(dataset=pets, model="resnet20", image_size=224)).crop == 14
