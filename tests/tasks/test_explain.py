"""Grad-CAM points at what decides, for every network, and changes nothing."""

import pytest
import torch
from torch import nn

import models
from tasks.explain import first_layer_filters, grad_cam


class BrightQuarter(nn.Module):
    """Class 0 is the brightness of the upper left quarter, class 1 that of the lower right one."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 1, 1, bias=False), nn.ReLU(inplace=True))
        nn.init.ones_(self.features[0].weight)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.features(images)
        return torch.stack([maps[:, 0, :8, :8].sum((1, 2)), maps[:, 0, 8:, 8:].sum((1, 2))], dim=1)


def test_the_map_is_bright_where_the_class_is_decided() -> None:
    images = torch.zeros(1, 1, 16, 16)
    images[0, 0, 2:5, 2:5] = 1.0
    heat = grad_cam(BrightQuarter().eval(), images)
    assert heat.shape == (1, 16, 16)
    assert torch.equal(heat[0] > 0, images[0, 0] > 0) and heat.max() == 1.0


def test_each_image_of_a_batch_is_explained_by_itself() -> None:
    network = models.build("resnet20", 10, 3).eval()
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([1, 5, 9])
    together = grad_cam(network, images, classes)
    alone = torch.cat([grad_cam(network, images[i : i + 1], classes[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(together, grad_cam(network, images, classes.flip(0)))


@pytest.mark.parametrize(
    "name", ["lenet5", "alexnet_small", "vgg_small", "resnet20", "xception_small", "seresnet20", "vgg11"]
)
def test_every_family_has_maps_to_look_at(name: str) -> None:
    network = models.build(name, 10, 3).eval()
    heat = grad_cam(network, torch.randn(2, 3, 32, 32))
    assert heat.shape == (2, 32, 32) and torch.isfinite(heat).all()
    assert heat.min() >= 0 and heat.max() <= 1
    assert all(parameter.grad is None for parameter in network.parameters())


def test_it_works_inside_inference_code() -> None:
    network = models.build("lenet5", 10, 1).eval()
    with torch.no_grad():
        assert grad_cam(network, torch.randn(1, 1, 32, 32)).shape == (1, 32, 32)


def test_a_network_in_train_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="train mode"):
        grad_cam(models.build("resnet20", 10, 3), torch.randn(1, 3, 32, 32))


def test_first_layer_filters_are_those_of_the_first_convolution() -> None:
    assert first_layer_filters(models.build("lenet5", 10, 1)).shape == (6, 1, 5, 5)
    with pytest.raises(ValueError, match="no convolution"):
        first_layer_filters(nn.Linear(2, 2))
