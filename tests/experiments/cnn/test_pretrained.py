"""CNNs that begin with ImageNet weights: the catalog, what comes from the Hub, the frozen trunk, and how it thaws."""

import base64
import dataclasses
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
import safetensors.torch
import timm
import torch
from timm.models import get_pretrained_cfg

from experiments import train_cnn
from experiments.cnn import pretrained
from experiments.cnn.pretrained import CATALOG, MEAN, STD
from experiments.cnn.recipes import resolve
from experiments.cnn.setup import CnnTraining, decide, prepare
from experiments.comparison.grid import make_grid
from experiments.config import PRETRAINED_CNNS, PRETRAINED_SIZE, CnnConfig, CompareConfig, ConfigError, TuneConfig
from experiments.training import devices, run
from experiments.training.continuation import CAME_LATER, deciding
from experiments.tuning.job import make_job
from models import IMAGENET_SIZE, build
from models.timm_names import from_timm, last_layer
from tasks import registry
from tasks.image_classification import ImageClassification
from tests.support.local_hub import LocalHub, local_hub, use_in_process
from tests.support.own_pictures import files, in_folder, picture
from tests.support.runs import assert_same_weights, cut_off_at, histories, only_run, uninterrupted, weights
from tests.support.timm_hub import put_on_hub, timm_weights

SMALL = "resnet18"


@pytest.fixture(scope="module")
def theirs() -> dict[str, torch.Tensor]:
    return timm_weights(SMALL)


@pytest.fixture
def hub(store: Path, monkeypatch: pytest.MonkeyPatch, theirs: dict[str, torch.Tensor]) -> Iterator[LocalHub]:
    with local_hub() as hub:
        use_in_process(hub, store / "hub", monkeypatch)
        put_on_hub(hub, SMALL, theirs)
        yield hub


@pytest.fixture
def pets(store: Path) -> str:
    return in_folder(store / "pets", files(10, ("cat", "dog", "owl")))


def configuration(pets: str, **given: object) -> CnnConfig:
    fields = {"model": SMALL, "image_size": 128, "weights": "pretrained", "revision": "main", "threads": 1}
    return CnnConfig(dataset=pets, precision="fp32", memory_format="channels_last", **{**fields, **given})


def prepared(config: CnnConfig) -> CnnTraining:
    return prepare(decide(config), devices.make_accelerator("cpu", "fp32"))


def test_the_catalog_is_what_timm_says_of_its_weights() -> None:
    assert set(CATALOG) == set(PRETRAINED_CNNS) and PRETRAINED_SIZE == IMAGENET_SIZE
    for entry in CATALOG.values():
        known = get_pretrained_cfg(entry.hub_id.removeprefix("timm/"))
        assert known is not None
        assert (known.hf_hub_id, known.license, known.mean, known.std) == (entry.hub_id, entry.license, MEAN, STD)
        assert entry.revision == "main" or re.fullmatch("[0-9a-f]{40}", entry.revision)


def test_weights_of_the_hub_give_what_they_give_in_timm(
    hub: LocalHub, pets: str, theirs: dict[str, torch.Tensor]
) -> None:
    training = prepared(configuration(pets))
    reference = timm.create_model(SMALL).eval()
    reference.load_state_dict(theirs)
    pixels = training.data.test.images
    with torch.no_grad():
        found = training.state.network.eval().features(training.normalize(pixels))
        normal = (pixels / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
        torch.testing.assert_close(found, reference.forward_features(normal), rtol=1e-3, atol=1e-3)
    commit = hub.repositories["timm/resnet18.tv_in1k"].main
    content = hub.repositories["timm/resnet18.tv_in1k"].content("model.safetensors")
    assert training.config.revision == commit  # `main` then
    assert training.tags() == {
        "task": "image-classification",
        "model": SMALL,
        "dataset": "pets",
        "license": "bsd-3-clause",
        "base_model": "timm/resnet18.tv_in1k",
        "base_revision": commit,
        "base_sha256": hashlib.sha256(content).hexdigest(),
    }


def test_a_gray_image_gives_what_it_gave_as_three_channels(theirs: dict[str, torch.Tensor]) -> None:
    color, gray = build(SMALL, 1000, 3, "imagenet").eval(), build(SMALL, 1000, 1, "imagenet").eval()
    color.load_state_dict(from_timm(SMALL, color, theirs))
    gray.load_state_dict(from_timm(SMALL, gray, theirs))
    images = torch.randn(2, 1, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(gray(images), color(images.expand(-1, 3, -1, -1)), rtol=1e-4, atol=1e-4)


def test_the_trunk_stands_still_and_then_moves_slowly(
    hub: LocalHub, pets: str, theirs: dict[str, torch.Tensor]
) -> None:
    config = configuration(pets, epochs=3, freeze_epochs=2, schedule="constant", warmup=0.0, ema_decay=0.5)
    training = prepared(config)
    network = training.state.network
    last = last_layer(network)
    rates = [group["lr"] for group in training.state.optimizer.param_groups]
    assert rates == pytest.approx([0.02, 0.02, 0.002, 0.002])
    begin = {key: value.clone() for key, value in network.state_dict().items()}
    expected = from_timm(SMALL, network, theirs)
    assert all(torch.equal(value, expected[key]) for key, value in begin.items() if not key.startswith(last))
    moved: list[set[str]] = []

    def look(_epoch: int, metrics: dict[str, float]) -> None:
        assert metrics["learning_rate"] == training.config.learning_rate  # that of the last layer
        now = {**network.state_dict(), **{f"average.{k}": v for k, v in training.state.evaluated.state_dict().items()}}
        was = {**begin, **{f"average.{key}": value for key, value in begin.items()}}
        moved.append({key for key, value in now.items() if not torch.equal(value, was[key])})

    run.run_loop(training, None, look)
    head = {f"{prefix}{last}.{kind}" for prefix in ("", "average.") for kind in ("weight", "bias")}
    assert moved[:2] == [head, head]
    assert {key for key in begin if "num_batches" not in key} <= moved[2]


@pytest.mark.full
def test_a_run_from_pretrained_weights_is_resumed_exactly_registered_and_served(
    hub: LocalHub, pets: str, store: Path, monkeypatch: pytest.MonkeyPatch, empty_store: Path, tmp_path: Path
) -> None:
    arguments = f"--dataset {pets} --model {SMALL} --image_size 128 --weights pretrained --revision main --epochs 3"
    arguments = [*arguments.split(), "--freeze_epochs", "2", "--threads", "1"]
    (tmp_path / "whole").mkdir()
    metrics, last = uninterrupted(train_cnn.main, arguments, tmp_path / "whole", empty_store)
    for epoch in (2, 3):  # within the frozen epochs, and at the end of them
        with cut_off_at(epoch, monkeypatch):
            train_cnn.main(arguments if epoch == 2 else ["--resume", only_run().info.run_id])
    hub.close()  # the cache is enough
    result = train_cnn.main(["--resume", only_run().info.run_id])
    assert result is not None and result.name == "pretrained resnet18 on pets, seed 0"
    assert histories(result.run_id) == metrics
    assert_same_weights(weights(result.run_id, 3), last)
    tags = only_run().data.tags
    assert tags["base_model"] == "timm/resnet18.tv_in1k" and "timm/resnet18.tv_in1k" in tags["mlflow.note.content"]
    assert only_run().data.params["revision"] == tags["base_revision"]
    (version,) = registry.versions()
    assert version.tags["base_sha256"] == tags["base_sha256"] and version.license == "bsd-3-clause"
    task = registry.load("cnn-pets", "cpu")
    assert isinstance(task, ImageClassification) and task.config.mean == MEAN and task.config.std == STD
    image = base64.b64encode(picture("owl", 5555, (300, 200))).decode()
    loaded = mlflow.pyfunc.load_model("models:/cnn-pets@champion")
    assert task.pixels(image).shape == (3, 128, 128) and task.config.stem == "imagenet"
    assert loaded.predict([{"image": image}])[0]["label"] == task.run([{"image": image}])[0]["label"] == "owl"


DAMAGE = {
    "layer3.1.bn2.weight is missing": lambda weights: weights.pop("layer3.1.bn2.weight"),
    "layer1.0.conv1.weight has the shape (64, 64, 1, 1)": lambda weights: weights.update(
        {"layer1.0.conv1.weight": torch.zeros(64, 64, 1, 1)}
    ),
    "layer1.0.se.fc1.weight is of no part of a resnet18": lambda weights: weights.update(
        {"layer1.0.se.fc1.weight": torch.zeros(4, 64, 1, 1)}
    ),
}


@pytest.mark.parametrize("said", DAMAGE)
def test_weights_that_do_not_fit_are_refused_in_a_line(said: str, theirs: dict, tmp_path: Path) -> None:
    damaged = dict(theirs)
    DAMAGE[said](damaged)
    file = tmp_path / "model.safetensors"
    safetensors.torch.save_file(damaged, file)
    found = pretrained.Weights("timm/resnet18.tv_in1k", "0123456789abcdef", "", file, "")
    with pytest.raises(ConfigError, match=f"revision 0123456789ab, does not fit resnet18: {re.escape(said)}") as caught:
        pretrained.load(build(SMALL, 3, 3, "imagenet"), SMALL, found)
    assert "\n" not in str(caught.value)


def test_without_the_hub_the_cache_is_enough_and_without_both_a_line_says_so(hub: LocalHub, pets: str) -> None:
    with pytest.raises(ConfigError, match=r"weights: timm/resnet18.tv_in1k has no revision v9"):
        prepared(configuration(pets, revision="v9"))
    first = prepared(configuration(pets))
    hub.close()
    assert prepared(configuration(pets)).tags() == first.tags()
    with pytest.raises(
        ConfigError, match=r"^weights: timm/resnet34.tv_in1k is not in the local cache, and the Hub can"
    ):
        prepared(configuration(pets, model="resnet34"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"model": "alexnet"},
            "weights is 'pretrained', and there are none of alexnet; valid: random, or model=vgg11, ",
        ),
        ({"image_size": 96}, "for pictures of 128 px or more, and those of pets are 96 px; valid: random, or your own"),
        ({"dataset": "digits", "image_size": 32}, "those of digits are 32 px; valid"),
        ({"weights": "random"}, "revision is 'main', which is for weights=pretrained; valid: auto"),
        ({"weights": "random", "revision": None, "freeze_epochs": 2}, "freeze_epochs is 2, which is for weights=pretr"),
    ],
)
def test_what_does_not_go_with_pretrained_weights_is_said_in_a_line(given: dict, said: str, pets: str) -> None:
    config = configuration(pets)
    with pytest.raises(ConfigError, match=re.escape(said)):
        resolve(CnnConfig(**{**config.model_dump(), **given}))


def test_recipes_and_runs_of_before_know_nothing_of_weights(pets: str) -> None:
    random = resolve(CnnConfig(dataset=pets))
    before = random.model_dump(exclude={"weights", "revision", "freeze_epochs", "trunk_learning_rate"})
    assert resolve(CnnConfig(**before)) == random
    assert not deciding(random).keys() & {*CAME_LATER, "revision"}
    known = resolve(configuration(pets, revision=None, epochs=12))
    assert (known.freeze_epochs, known.trunk_learning_rate, known.learning_rate) == (2, 0.1, 0.02)
    assert known.revision == CATALOG[SMALL].revision


def test_comparisons_and_studies_begin_with_them_too(hub: LocalHub, pets: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = pretrained.Published("timm/resnet18.tv_in1k", "main", "bsd-3-clause")
    monkeypatch.setitem(CATALOG, SMALL, entry)
    shared = {"image_size": 128, "weights": "pretrained", "threads": 1}
    grid = make_grid(CompareConfig(models=SMALL, datasets=pets, **shared))
    (cell,) = grid.cells
    assert grid.cell_config(cell).weights == "pretrained"
    assert dataclasses.replace(grid, epochs={cell: 3}).cell_config(cell).freeze_epochs == 1  # else none would thaw
    assert grid.digest() != make_grid(CompareConfig(models=SMALL, datasets=pets, image_size=128, threads=1)).digest()
    job = make_job(TuneConfig(model=SMALL, dataset=pets, search="trunk_learning_rate=0.01:1,batch_size=8", **shared))
    assert "trunk_learning_rate" in job.space and job.identity()["weights"] == "pretrained"
