"""What `tune` refuses, in one line, before it makes or changes anything."""

from pathlib import Path

import optuna
import pytest
from mlflow import MlflowClient

from experiments import tune
from experiments.config import ConfigError, UserError
from experiments.data.sources import DataError
from tests.support.fake_trials import FAKE, TINY, load_study
from tests.support.runs import all_runs


@pytest.mark.parametrize(
    ("arguments", "error", "expected"),
    [
        (["--trials", "0"], ConfigError, "trials is 0; valid: a whole number from 1 to 100000"),
        (["--search", "batch_size=300|400"], ConfigError, "search has batch_size=400; valid: at most 200"),
        (["--kind", "rnn"], ConfigError, "kind is 'rnn'; .*valid: cnn, seq2seq"),
        (["--model", "resnet21"], ConfigError, "model names 'resnet21'; did you mean 'resnet20'"),
        (["--model", "lenet5,resnet20"], ConfigError, "model names 2; valid: one of"),
        (["--dataset", "minst"], ConfigError, "dataset names 'minst'; did you mean 'mnist'"),
        (["--dataset", "mnist", "--data_dir", "here"], DataError, "here/MNIST/raw/"),
        (["--study", "../up"], ConfigError, "study is '../up'; valid: letters"),
        (["--storage", "studies"], ConfigError, "storage is 'studies', and that is no URL; valid: auto, or such as"),
        (["--storage", "mine.journal"], ConfigError, r"such as sqlite:///mine.db \(takes the journal over\)"),
        (["--storage", "me:secret@here"], ConfigError, r"^storage is no URL; valid: auto"),
        (["--storage", "sqlite:////proc/x.db"], ConfigError, "'/proc/x.db', and nothing can be written there"),
        (["--storage", f"sqlite:///{'x' * 300}/y.db"], ConfigError, "its folder cannot be read: File name too long"),
        (["--storage", f"sqlite:///{'x' * 248}.db"], ConfigError, r"nothing can be written there \(File name too long"),
        (["--storage", "redis://here/1"], ConfigError, "valid: databases of sqlite, postgresql"),
        (["--storage", "mysql://me:secret@here/x"], ConfigError, r"me:\*\*\*@here/x'; valid: databases of sqlite"),
        (["--storage", "sqlite:///old.db"], ConfigError, "old.journal is no journal of Optuna"),
        (["--storage", "sqlite:///no/where.db"], ConfigError, "there is no folder"),
        (["--storage", "sqlite://"], ConfigError, "which names no file"),
        (["--storage", "sqlite:///broken.db"], ConfigError, "does not answer: file is not a database"),
        (["--storage", "sqlite:///mlflow.db"], ConfigError, "which is a database of MLflow; valid: one of its own"),
        (
            ["--storage", "postgresql+pg8000://me:secret@127.0.0.1:9/x"],
            ConfigError,
            r"me:\*\*\*@127.0.0.1:9/x', and the Python package for it is missing: No module named 'pg8000'",
        ),
        (["--device", "mps"], ConfigError, "device is 'mps'"),
        (["--kind", "seq2seq", "--weights", "pretrained"], ConfigError, "no meaning for kind=seq2seq, .*valid: random"),
        (["--kind", "seq2seq", "--data_dir", "here"], ConfigError, "data_dir is 'here', .*kind=seq2seq"),
        (["--image_size", "64"], ConfigError, "image_size is 64; valid: 32 for digits; other sizes are for your own"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_made(
    arguments: list[str], error: type[UserError], expected: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchvision.datasets.MNIST.mirrors", ["http://127.0.0.1:9/"])
    (store / "old.journal").write_text("not a journal\nat all\n")
    (store / "broken.db").write_text("not a database at all" * 1000)
    with pytest.raises(error, match=expected):
        tune.main([*TINY, *arguments])
    assert not all_runs() and not (store / "studies").exists()


def test_a_study_of_another_search_or_program_is_refused_and_left_as_it_was(store: Path, fake: None) -> None:
    tune.main([*FAKE, "--trials", "1"])
    before = load_study().trials
    for arguments, expected in (
        (["--epochs", "3"], "epochs is 3 and was 4"),
        (["--search", "crop=1"], "search is"),
        (["--seed", "5"], "seed is 5 and was 0"),
        (["--train_size", "300"], "train_size is 300 and was 200"),
    ):
        with pytest.raises(ConfigError, match=f"made for another search: .*{expected}"):
            tune.main([*FAKE, "--trials", "2", *arguments])
    assert load_study().trials == before and len(all_runs()) == 2

    optuna.create_study(storage="sqlite:///mine.db", study_name="mine").ask()
    with pytest.raises(ConfigError, match=r"was not made by tune"):
        tune.main([*FAKE, "--study", "mine", "--storage", "sqlite:///mine.db"])


def test_a_study_whose_run_is_gone_is_refused(store: Path, fake: None) -> None:
    result = tune.main([*FAKE, "--trials", "1"])
    assert result is not None
    MlflowClient().delete_run(result.run_id)
    with pytest.raises(ConfigError, match="is deleted; restore it, or begin another study"):
        tune.main([*FAKE, "--trials", "2"])
    load_study().set_user_attr("parent_run", "0" * 32)
    with pytest.raises(ConfigError, match="is not in this tracking store; give every worker the same"):
        tune.main([*FAKE, "--trials", "2"])
