"""The starter that draws pictures: a whole training on tiny data, its folder, and going on after being cut off."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from PIL import Image

from experiments.config import ConfigError, StarterConfig
from experiments.starters.pictures import data, evaluation, network, recipe
from experiments.starters.pictures.recipe import STARTER
from experiments.starters.pictures.words import CLASSES
from experiments.starters.training import train
from experiments.training.devices import make_accelerator
from experiments.training.state import Metrics
from tasks.hub.checks import check_folder
from tasks.image_generation import ImageGeneration
from tests.support.runs import artifacts, histories, only_run
from tests.support.tiny_diffusion import encoded, make, photo, pixels
from tests.support.tiny_encoder import train_epochs

pytestmark = pytest.mark.full

TINY = StarterConfig(
    task="image-generation", train_size=80, epochs=2, batch_size=16, threads=1, precision="fp32", device="cpu"
)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Handwritten digits that scikit-learn brings stand for both data sets, and few pictures are looked at."""
    monkeypatch.setattr(data, "SETS", ("digits", "digits"))
    monkeypatch.setattr(network, "BATCH", 16)
    monkeypatch.setattr(network, "PASSES", 1)
    for module, name, count in (
        (recipe, "DRAWN", 1),
        (recipe, "MEASURED", 2),
        (recipe, "UNSEEN_BY_CRITIC", 2),
        (recipe, "DRAWING_STEPS", 2),
        (evaluation, "DRAWN", 2),
        (evaluation, "TIMED", 1),
    ):
        monkeypatch.setattr(module, name, count)


def test_a_training_leaves_a_model_that_draws(store: Path) -> None:
    folder = store / "made"
    result = train(StarterConfig(**{**vars(TINY), "output": str(folder)}))
    assert result is not None
    logged = histories(result.run_id)
    for name in ("train_loss", "val_loss", "val_accuracy", "val_reconstruction_psnr"):
        assert [step for step, _ in logged[name]] == [1, 2]
    # The autoencoder is that of the first epoch to the end, in the average too.
    assert len({value for _, value in logged["val_reconstruction_psnr"]}) == 1
    assert set(result.columns) <= {name.removeprefix("test_") for name in result.metrics if name.startswith("test_")}
    with Image.open(artifacts(only_run()) / "plots" / "samples.png") as samples:
        assert samples.size == (2 * 2 * 64 + 16, 10 * 64)  # two pictures of each class, in two blocks
    table = (artifacts(only_run()) / "reports" / "classes.md").read_text()
    assert all(f"| {name} |" in table for name in CLASSES)

    check_folder(folder)
    assert sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) < 6_000_000
    task = ImageGeneration(folder, "starter", "cpu")
    task.load()
    first, again = (make(task, "A Sneaker, please!", steps=None) for _ in range(2))
    assert (first["width"], first["height"], first["steps"]) == (64, 64, 2)
    assert first["image"] == again["image"] and not first["truncated"]
    gray = pixels(first)
    assert (gray == gray[..., :1]).all()
    assert first["image"] != make(task, "the digit 7", steps=None)["image"]
    assert pixels(make(task, "qwzx", image=encoded(photo(64, 64)), strength=0.5, negative_prompt="a bag")).shape == (
        64,
        64,
        3,
    )
    plain: Any = DiffusionPipeline.from_pretrained(folder)
    assert {part.dtype for part in (plain.unet, plain.vae, plain.text_encoder)} == {torch.float32}

    found = STARTER.evaluate(folder, store)
    values = [figure.value for figure in found.figures]
    assert all(0 <= value <= 1 for value in values[:2]) and all(value > 0 for value in values[2:])
    assert all(f"| {name} |" in found.examples for name in CLASSES)


def test_a_training_goes_on_as_if_it_had_never_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    accelerator = make_accelerator("cpu", "fp32")
    straight = recipe.prepare(recipe.decide(TINY), accelerator)
    kept: list[Any] = []

    def keep(_epoch: int, _metrics: Metrics) -> None:
        kept.append(copy.deepcopy((straight.state.tensors(), straight.state.values())))

    train_epochs(straight, 2, keep)
    resumed = recipe.prepare(recipe.decide(TINY), accelerator)
    resumed.state.restore(*kept[0])
    monkeypatch.delattr(network, "train_autoencoder")  # on another machine it would become another one
    train_epochs(resumed, 2)
    (weights, _), (others, _) = kept[1], (resumed.state.tensors(), None)
    for part in ("model", "average", "optimizer"):
        assert weights[part].keys() == others[part].keys()
        assert all(torch.equal(weights[part][name], others[part][name]) for name in weights[part])
    assert any(name.startswith("vae.") for name in weights["model"])
    learned = {name for name in weights["model"] if not torch.equal(kept[0][0]["model"][name], weights["model"][name])}
    assert learned and not any(name.startswith("vae.") for name in learned)


def test_a_batch_larger_than_the_data_is_refused() -> None:
    config = recipe.decide(StarterConfig(**{**vars(TINY), "batch_size": 81}))
    with pytest.raises(ConfigError, match=r"batch_size is 81; valid: 1 to 80"):
        recipe.prepare(config, make_accelerator("cpu", "fp32"))
