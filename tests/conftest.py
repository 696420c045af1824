"""Fixtures that tests share: a fresh tracking store each, and no leaking of MLflow's or the environment's state."""

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT_ROOT = Path(__file__).resolve().parent.parent

# A job in the background of a shell ignores Ctrl-C, and so would the programs that tests start and press it for.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # likewise under `nohup`
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# As `experiments.config.cli` does, before torch is loaded: beside other tests, threads that spin crawl.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# The same precision on every machine and in every run; tests of the trial itself ask for one.
os.environ["PROJECT_DL_SPEED_TRIAL"] = "0"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Tiny tensors are fastest on one thread, and tests then do not disturb each other."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def _few_objects() -> None:
    """Have the collector leave alone what is there already (libraries, earlier tests).

    It runs each time that a model is unloaded; looking through everything would take seconds late in a session.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An initialized SQLite store, made once: creating its tables takes seconds, copying the file does not."""
    import mlflow

    from tasks.runs import open_store

    folder = tmp_path_factory.mktemp("store")
    database = folder / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # MLflow puts the artifacts of its experiment 0 beside where the store is made
        mlflow.set_tracking_uri(f"sqlite:///{database}")
        open_store()
        mlflow.set_tracking_uri(None)
    return database


@pytest.fixture(scope="session")
def filled_store(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A store whose registry has a tiny model for every task, made once; it is not to be changed, but may be copied."""
    from tests.support.small_platform import fill

    database = tmp_path_factory.mktemp("platform") / "mlflow.db"
    database.write_bytes(empty_store.read_bytes())
    fill(database)
    return database


@pytest.fixture
def store(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with a store of its own, in force for MLflow and for programs started from the test."""
    import mlflow

    (tmp_path / "mlflow.db").write_bytes(empty_store.read_bytes())
    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("PYTHONPATH", str(PROJECT_ROOT))
    monkeypatch.setenv("MLFLOW_LOGGING_LEVEL", "WARNING")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("MLFLOW_RUN_ID", "MLFLOW_EXPERIMENT_ID", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    mlflow.set_tracking_uri(uri)
    yield tmp_path
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(None)


@pytest.fixture
def real_data() -> str:
    """The folder of the real data sets, named by PROJECT_DL_DATA; without it the test is skipped."""
    folder = os.environ.get("PROJECT_DL_DATA")
    if not folder:
        pytest.skip("PROJECT_DL_DATA does not name a folder with the real data sets")
    return folder
