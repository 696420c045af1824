"""What every network of the table must do, by name; `test_parity.py` says that they are the published ones."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import models
from models import ARCHITECTURES, build
from models.resnet import OptionAShortcut
from models.senet import SqueezeExcitation

CLASSES = 7
SMALL = [name for name, architecture in ARCHITECTURES.items() if "small" in architecture.stems]
STEMS = [(name, stem) for name, architecture in ARCHITECTURES.items() for stem in architecture.stems]
DROPOUT = {"alexnet", "alexnet_small", "xception", "senet154"} | {name for name in SMALL if name.startswith("vgg1")}
# Learning a batch by heart takes these too long for a unit test: one small step must lower the loss instead.
SLOW = {"alexnet", "resnet34", "resnet50", "resnet56", "xception", "seresnet50", "senet154"} | {
    name for name in SMALL if name.startswith(("vgg11", "vgg13", "vgg16", "vgg19"))
}

# These take a second for a 32 x 32 image; smaller ones reach all of their layers too. On the meta device below they all
# get their own size.
TINY_IMAGES = {"resnet34", "resnet50", "xception", "seresnet50", "senet154"}


@pytest.fixture(scope="module", params=SMALL)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def network(name: str) -> nn.Module:
    """Built once for all tests of a name; a test that trains takes a copy."""
    torch.manual_seed(0)
    return build(name, CLASSES)


@pytest.fixture
def batch(name: str) -> torch.Tensor:
    return images(8, size=16 if name in TINY_IMAGES else 32)


def images(count: int, channels: int = 3, size: int = 32) -> torch.Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_eval_mode_takes_a_single_image_and_is_deterministic(network: nn.Module, batch: torch.Tensor) -> None:
    network.eval()
    first, second = network(batch[:1]), network(batch[:1])
    assert first.shape == (1, CLASSES)
    assert first.isfinite().all()
    assert torch.equal(first, second)


@torch.no_grad()
def test_features_are_maps(network: nn.Module, batch: torch.Tensor) -> None:
    """Grad-CAM reads `features`, so every network has them, and they still have height and width."""
    network.eval()
    maps = network.features(batch[:2])
    assert maps.ndim == 4
    assert len(maps) == 2


@torch.no_grad()
def test_channels_last_gives_the_same_logits(network: nn.Module, batch: torch.Tensor) -> None:
    network.eval()
    expected = network(batch[:2])
    network.to(memory_format=torch.channels_last)
    actual = network(batch[:2].to(memory_format=torch.channels_last))
    network.to(memory_format=torch.contiguous_format)
    # An untrained deep network has large logits: the tolerance is relative to them.
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


@torch.no_grad()
def test_dropout_where_the_paper_has_it(name: str, network: nn.Module, batch: torch.Tensor) -> None:
    trained = copy.deepcopy(network).train()
    first, second = trained(batch[:2]), trained(batch[:2])
    assert torch.equal(first, second) == (name not in DROPOUT)


def test_every_parameter_gets_a_gradient(network: nn.Module, batch: torch.Tensor) -> None:
    network.train()
    network.zero_grad()
    F.cross_entropy(network(batch[:2]), torch.tensor([0, 1])).backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
    network.zero_grad()


def loss_on(network: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(network(batch), torch.arange(len(batch)) % CLASSES)


def test_learns(name: str, network: nn.Module, batch: torch.Tensor) -> None:
    learner = copy.deepcopy(network).train()
    for module in learner.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    if name in SLOW:
        one_small_step_lowers_the_loss(learner, batch[:2])
    else:
        learns_by_heart(learner, batch)


def one_small_step_lowers_the_loss(network: nn.Module, batch: torch.Tensor) -> None:
    before = loss_on(network, batch)
    before.backward()
    slope = sum(parameter.grad.square().sum().item() for parameter in network.parameters())
    torch.optim.SGD(network.parameters(), lr=0.01 * before.item() / slope).step()  # if it were linear, one per cent
    with torch.no_grad():
        assert loss_on(network, batch) < before


def learns_by_heart(network: nn.Module, batch: torch.Tensor) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, fused=True)
    loss = loss_on(network, batch)
    for _ in range(60):
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss = loss_on(network, batch)
        if loss < 0.1:
            return
    pytest.fail(f"the loss is still {loss.item():.3f}")


@pytest.mark.parametrize(("name", "stem"), STEMS)
@pytest.mark.parametrize("channels", [1, 3])
def test_builds_without_memory_for_its_own_image_size(name: str, stem: str, channels: int) -> None:
    size = 32 if stem == "small" else 299 if name == "xception" else 224
    with torch.device("meta"):
        network = build(name, CLASSES, channels, stem).eval()
        logits = network(torch.empty(2, channels, size, size))
    assert all(tensor.is_meta for tensor in network.state_dict().values())
    assert logits.shape == (2, CLASSES)


@pytest.mark.parametrize("name", ["lenet5", "resnet20"])
def test_gray_images_and_one_class(name: str) -> None:
    assert build(name, 1, in_channels=1)(images(2, channels=1)).shape == (2, 1)


def test_unknown_name_raises_and_lists_the_names() -> None:
    with pytest.raises(ValueError, match=r"lenet6.*lenet5.*senet154"):
        build("lenet6", 10)


@pytest.mark.parametrize(("name", "stem", "valid"), [("resnet20", "imagenet", "small"), ("vgg16", "tiny", "imagenet")])
def test_unknown_stem_raises_and_lists_the_stems(name: str, stem: str, valid: str) -> None:
    with pytest.raises(ValueError, match=f"{name}.*{stem}.*valid: {valid}"):
        build(name, 10, stem=stem)


@pytest.mark.parametrize("channels", [0, 2, 4])
def test_unknown_channels_raise(channels: int) -> None:
    with pytest.raises(ValueError, match=f"{channels}; valid: 1 or 3"):
        build("lenet5", 10, in_channels=channels)


@pytest.mark.parametrize("classes", [0, -1])
def test_unknown_number_of_classes_raises(classes: int) -> None:
    with pytest.raises(ValueError, match=f"{classes}; valid: 1 or more"):
        build("lenet5", classes)


def test_table_does_not_hide_the_modules() -> None:
    network = build("alexnet_small", 10)
    assert type(network) is models.alexnet.AlexNet


def test_option_a_shortcut_skips_pixels_and_pads_channels_with_zeros() -> None:
    x = images(2, channels=4, size=6)
    out = OptionAShortcut(4, 8)(x)
    assert torch.equal(out[:, 2:6], x[:, :, ::2, ::2])
    assert not out[:, :2].any()
    assert not out[:, 6:].any()


def test_gate_scales_each_channel_by_one_number() -> None:
    x = images(2, channels=16, size=5)
    ratio = SqueezeExcitation(16, reduction=4)(x) / x
    torch.testing.assert_close(ratio, ratio.mean(dim=(2, 3), keepdim=True).expand_as(ratio))
    assert 0 < ratio.min() < ratio.max() < 1
