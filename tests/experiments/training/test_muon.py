"""Muon: its step is that of torch.optim.Muon, on the weights that it is made for."""

import pytest
import torch
from torch import nn

import models
from experiments.training.muon import Muon, orthogonalized, orthogonalized_parameters
from experiments.training.state import make_optimizer


def names(network: nn.Module) -> set[str]:
    found = {id(parameter) for parameter in orthogonalized_parameters(network)}
    return {name for name, parameter in network.named_parameters() if id(parameter) in found}


@pytest.mark.parametrize("shape", [(6, 40), (40, 6), (16, 16), (8, 4, 3, 3), (64, 4, 3, 3)])
def test_the_singular_values_of_an_orthogonalized_matrix_are_near_one(shape: tuple[int, ...]) -> None:
    update = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    matrix = orthogonalized(update).flatten(1)
    rows, columns = matrix.shape
    values = torch.linalg.svdvals(matrix) / max(1, rows / columns) ** 0.5
    assert values.min() > 0.6 and values.max() < 1.3
    exact_left, _, exact_right = torch.linalg.svd(update.flatten(1), full_matrices=False)
    exact = exact_left @ exact_right
    assert (matrix * exact).sum() / (matrix.norm() * exact.norm()) > 0.97
    assert torch.equal(orthogonalized(1000 * update).sign(), orthogonalized(update).sign())


def test_layout_in_memory_does_not_change_the_step() -> None:
    update = torch.randn(8, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    other = update.to(memory_format=torch.channels_last)
    torch.testing.assert_close(orthogonalized(other), orthogonalized(update))


def test_the_step_of_a_matrix_is_that_of_pytorch() -> None:
    """Whose iteration runs in bf16, and whose momentum is a mean instead of a sum: of the same direction."""
    start = torch.randn(24, 10, generator=torch.Generator().manual_seed(0))
    mine, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    ours = Muon([{"params": [mine], "weight_decay": 0.1, "orthogonal": True}], lr=0.05, momentum=0.9)
    reference = torch.optim.Muon([theirs], lr=0.05, momentum=0.9, weight_decay=0.1)
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        gradient = torch.randn(24, 10, generator=generator)
        mine.grad, theirs.grad = gradient.clone(), gradient.clone()
        ours.step()
        reference.step()
    moved = (theirs - start).norm()
    assert (mine - theirs).norm() < 0.02 * moved


def test_other_groups_are_trained_as_by_sgd() -> None:
    mine, theirs = nn.Parameter(torch.ones(5)), nn.Parameter(torch.ones(5))
    ours = Muon([{"params": [mine], "weight_decay": 0.1}], lr=0.05, momentum=0.9)
    reference = torch.optim.SGD([theirs], lr=0.05, momentum=0.9, weight_decay=0.1, nesterov=True)
    for number in range(3):
        mine.grad, theirs.grad = torch.full((5,), number + 1.0), torch.full((5,), number + 1.0)
        ours.step()
        reference.step()
    torch.testing.assert_close(mine, theirs)


def test_hidden_filters_and_matrices_are_orthogonalized_and_nothing_else() -> None:
    lenet = models.build("lenet5", 10, 1)
    found = names(lenet)
    everything = [name for name, parameter in lenet.named_parameters() if parameter.ndim > 1]
    # Not the filters of the only channel, not the classes.
    assert [name for name in everything if name not in found] == [everything[0], everything[-1]]
    separable = models.build("xception_small", 10, 3)
    depthwise = {
        f"{name}.weight"
        for name, module in separable.named_modules()
        if isinstance(module, nn.Conv2d) and module.groups > 1
    }
    assert depthwise and not depthwise & names(separable)
    assert all(dict(separable.named_parameters())[name].ndim > 1 for name in names(separable))


def test_what_is_not_orthogonalized_has_a_multiple_of_the_learning_rate() -> None:
    network = models.build("resnet20", 10, 3)
    first, *others = make_optimizer("muon", network, learning_rate=0.05, weight_decay=0.1).param_groups
    assert (first["lr"], first["weight_decay"]) == (0.05, 0.1) and len(first["params"]) == len(names(network))
    assert [group["lr"] for group in others] == [0.1, 0.1]
    assert [group["weight_decay"] for group in others] == pytest.approx([5e-4, 0.0])


def test_frozen_layers_stay_as_they_are() -> None:
    network = models.build("lenet5", 10, 1)
    optimizer = make_optimizer("muon", network, learning_rate=0.02, weight_decay=0.1)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    optimizer.step()
    assert all(torch.equal(parameter, before[name]) for name, parameter in network.named_parameters())


def test_a_step_whose_scaled_gradients_are_infinite_is_left_out() -> None:
    """As it happens in fp16: momentum must not remember it."""
    weight = nn.Parameter(torch.ones(4, 3))
    optimizer = Muon([{"params": [weight], "orthogonal": True}], lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120)
    for factor in (1.0, 1e9, 1.0):
        optimizer.zero_grad()
        scaler.scale((factor * weight).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    momentum = optimizer.state[weight]["momentum_buffer"]
    torch.testing.assert_close(momentum, torch.full((4, 3), 1.9))
    assert torch.isfinite(weight).all() and not torch.equal(weight, torch.ones(4, 3))
