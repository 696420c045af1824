"""A small platform for the pages: a registry with a tiny model for every task, and pages run by Streamlit's AppTest."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import PROJECT_ROOT

CLASSES = tuple("0123456789")


@pytest.fixture(scope="session")
def filled_store(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A store whose registry has a champion for every task (two for some), made once; its files are not to be changed.

    Untrained networks: what they answer makes no sense, that and how they answer does.
    """
    import mlflow

    from tasks import registry
    from tests import tiny_diffusion, tiny_models

    folder = tmp_path_factory.mktemp("platform")
    shutil.copy(empty_store, folder / "mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = mlflow.create_experiment("platform", artifact_location=str(folder / "artifacts"))

    def add(name: str, task: str, model: str, make: Callable[[Path], object], **tags: str) -> None:
        place = tmp_path_factory.mktemp("model") / "model"
        make(place)
        with mlflow.start_run(experiment_id=experiment):
            info = registry.package("model", task, place, model)
        version = registry.register(info.model_uri, name, {"task": task, "model": model, **tags})
        registry.promote(name, version.version)

    for task, tiny in tiny_models.TASK_MODELS.items():
        for model in tiny if isinstance(tiny, (list, tuple)) else (tiny,):
            add(task, task, f"tiny {model}", lambda place, model=model: tiny_models.save(model, place), licence="mit")
    add("image-generation", "image-generation", "tiny diffusion",
        lambda place: tiny_diffusion.save(tiny_diffusion.tiny_stable_diffusion(), place))  # fmt: skip
    for dataset, architecture in (("digits", "lenet5"), ("mnist", "alexnet_small")):
        add(f"cnn-{dataset}", "image-classification", f"{architecture} on {dataset}",
            lambda place, architecture=architecture: save_network(place, architecture),
            dataset=dataset, val_accuracy="0.5")  # fmt: skip
    for attention in ("dot", "none"):
        add("seq2seq-reverse", "sequence-reversal", f"gru-{attention}",
            lambda place, attention=attention: save_sequences(place, attention))  # fmt: skip
    mlflow.set_tracking_uri(None)
    return folder / "mlflow.db"


def save_network(folder: Path, architecture: str) -> None:
    """An untrained network for ten classes of grey pictures."""
    import models
    from tasks.image_classification import ClassifierConfig, save_classifier

    config = ClassifierConfig(architecture, "small", 1, CLASSES, (0.1,), (0.3,))
    save_classifier(folder, models.build(architecture, 10, 1), config)


def save_sequences(folder: Path, attention: str) -> None:
    """An untrained encoder-decoder for ten symbols."""
    from tasks.sequence_reversal import ReverserConfig, save_reverser

    config = ReverserConfig("gru", attention, "none", vocab_size=10, max_length=8, longest=40, hidden_size=16, layers=1)
    save_reverser(folder, config.build(), config)


@pytest.fixture
def empty_tool(store: Path) -> Iterator[Path]:
    """The tool over an empty registry, as on a first start; the folder that it runs in."""
    _forget()
    yield store
    _forget()


@pytest.fixture
def tool(filled_store: Path, store: Path) -> Iterator[Path]:
    """The tool over a registry with tiny models, which may be changed: each test has its own copy of the store."""
    (store / "mlflow.db").write_bytes(filled_store.read_bytes())
    _forget()
    yield store
    _forget()


def _forget() -> None:
    """End the worker of the last test, and forget what pages keep between runs."""
    import streamlit as st

    st.cache_resource.clear()
    st.cache_data.clear()


@pytest.fixture
def page() -> Callable[..., "AppTest"]:  # noqa: F821
    """A function that opens a page of the app, such as `page("tasks")`."""
    from streamlit.testing.v1 import AppTest

    def open_page(name: str, timeout: float = 60.0) -> AppTest:
        app = AppTest.from_file(str(PROJECT_ROOT / "ui" / "app.py"), default_timeout=timeout)
        app.run()
        if name != "home":
            app.switch_page(f"views/{name}.py").run()
        return app

    return open_page
