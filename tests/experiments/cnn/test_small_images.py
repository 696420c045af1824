"""Training on small images at first: which epochs, which networks, and what is refused."""

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator

from experiments.cnn.augmentation import Augmentation, Normalize, TrainingBatches
from experiments.cnn.recipes import resolve
from experiments.cnn.setup import prepare
from experiments.config import CnnConfig, ConfigError
from experiments.data.images import Subset
from experiments.training.continuation import deciding


def batches(augmentation: Augmentation) -> TrainingBatches:
    images = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    data = Subset(images.contiguous(memory_format=torch.channels_last), torch.arange(20))
    return TrainingBatches(data, Normalize((0.5,) * 3, (0.25,) * 3, "cpu"), augmentation, 8, seed=0)


def test_the_first_epochs_have_small_images_of_the_same_plan() -> None:
    whole, shrinking = batches(Augmentation(2, True)), batches(Augmentation(2, True, small_size=24, small_epochs=2))
    for epoch in (1, 2, 3):
        for large, small in zip(whole.epoch(epoch), shrinking.epoch(epoch), strict=True):
            assert torch.equal(large.labels, small.labels)
            assert small.images.is_contiguous(memory_format=torch.channels_last)
            if epoch == 3:
                assert torch.equal(small.images, large.images)
            else:
                expected = F.interpolate(large.images, size=(24, 24), mode="bilinear", align_corners=False)
                assert small.images.shape[2:] == (24, 24) and torch.equal(small.images, expected)


def configuration(**values: object) -> CnnConfig:
    shared = {"device": "cpu", "precision": "fp32", "memory_format": "channels_last", "threads": 1, "train_size": 300}
    return CnnConfig(**{"model": "vgg_small", **shared, **values})


def test_a_size_alone_is_for_a_fraction_of_the_epochs() -> None:
    assert resolve(configuration(small_size=20, epochs=10)).small_epochs == 6
    assert resolve(configuration(small_size=20, epochs=1)).small_epochs == 0  # never the last epoch
    assert resolve(configuration(epochs=10)).small_epochs == 0
    of_recipe = resolve(configuration(epochs=10, dataset="cifar10"))
    assert (of_recipe.small_size, of_recipe.small_epochs) == (24, 6)
    assert resolve(configuration(small_size=24, epochs=10, small_epochs=3)).small_epochs == 3
    off = resolve(configuration(small_size=0, epochs=10))
    assert (off.small_size, off.small_epochs) == (0, 0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "lenet5", "small_size": 24}, "small_size is 24, .* lenet5 are made for one size; valid: 0$"),
        ({"small_size": 32}, "small_size is 32, and the images have 32 x 32 pixels; valid: 0, or from 8 to 31"),
        (
            {"model": "vgg11", "small_size": 24},
            "small_size is 24, which vgg11 cannot be trained on (.*); valid: 0, or a larger size below 32",
        ),
        ({"small_size": 7}, "small_size is 7, and the images have 32 x 32 pixels; valid: 0, or from 8 to 31"),
        (
            {"small_size": 0, "small_epochs": 2},
            "small_epochs is 2, which needs a small_size; valid: 0, or a small_size",
        ),
        (
            {"small_size": 24, "small_epochs": 2},
            "small_epochs is 2, of 2 epochs; valid: 0 to 1, as the last epoch is on whole images",
        ),
        (
            {"small_size": 24, "small_epochs": 1, "epochs": 1},
            "small_epochs is 1, of 1 epoch; valid: 0, as the last epoch is on whole images",
        ),
        ({"small_size": -1}, "small_size is -1; valid: "),
    ],
)
def test_a_size_that_cannot_be_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("(", r"\(").replace(")", r"\)")):
        prepare(resolve(configuration(**{"epochs": 2, **values})), Accelerator(cpu=True))


def test_a_run_from_before_small_images_resumes_without_them() -> None:
    before = {name: value for name, value in deciding(resolve(configuration())).items() if "small" not in name}
    assert deciding(resolve(configuration(small_size=0))) == before
