"""The state of a training: schedules, decay, moving average, taking apart and restoring."""

import itertools
import json
import math

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn

from experiments.training.state import (
    TrainState,
    best_epoch,
    evaluated_weights,
    make_optimizer,
    make_state,
    schedule_factor,
)

STEPS = 8


class Toy(nn.Module):
    """Everything that has a state of its own: convolutions (their memory format), batch norm, dropout, a linear."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3))
        self.classifier = nn.Sequential(nn.Dropout(0.3), nn.Linear(6, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(images).mean(dim=(2, 3)))


def fresh(
    accelerator: Accelerator, optimizer: str, ema_decay: float = 0.0, schedule: str = "one_cycle", seed: int = 0
) -> TrainState:
    torch.manual_seed(seed)
    return make_state(
        accelerator,
        Toy(),
        optimizer=optimizer,
        learning_rate=0.05,
        weight_decay=0.01,
        schedule=schedule,
        warmup=0.25,
        ema_decay=ema_decay,
        total_steps=STEPS,
    )


def train(state: TrainState, steps: range) -> None:
    for number in steps:
        torch.manual_seed(1000 + number)
        images = torch.randn(6, 3, 8, 8).contiguous(memory_format=torch.channels_last)
        state.model.train()
        state.accelerator.backward(F.cross_entropy(state.model(images), torch.arange(6) % 3))
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.scheduler.step()
        if state.average is not None:
            state.average.update_parameters(state.network)


def assert_same(one: TrainState, other: TrainState) -> None:
    for part, expected in one.tensors().items():
        found = other.tensors()[part]
        assert set(found) == set(expected)
        for name, tensor in expected.items():
            assert torch.equal(tensor, found[name]), f"{part} {name}"
    assert one.values() == other.values()
    assert [group["lr"] for group in one.optimizer.param_groups] == [g["lr"] for g in other.optimizer.param_groups]


def test_a_state_can_be_taken_apart_before_its_first_step(accelerator: Accelerator) -> None:
    one, other = fresh(accelerator, "adamw", 0.9), fresh(accelerator, "adamw", 0.9, seed=1)
    other.restore(one.tensors(), json.loads(json.dumps(one.values())))
    train(one, range(2))
    train(other, range(2))
    assert_same(one, other)


@pytest.mark.parametrize("name", ["sgd", "adamw", "muon"])
def test_matrices_decay_and_vectors_do_not(name: str) -> None:
    network = Toy()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.fill_(1.0)
    optimizer = make_optimizer(name, network, learning_rate=0.1, weight_decay=0.5)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for parameter in network.parameters():
        assert torch.all(parameter < 1 if parameter.ndim > 1 else parameter == 1)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(network.parameters()))


SCHEDULES = ["cosine", "one_cycle", "constant"]


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize(("total", "warmup"), [(100, 0.2), (10, 0.5), (7, 0.0), (1, 0.9), (3, 0.01), (1000, 0.999)])
def test_schedules_rise_in_a_line_to_one_and_never_rise_again(name: str, total: int, warmup: float) -> None:
    factors = [schedule_factor(name, step, total, warmup) for step in range(total + 1)]
    rising = max(1, round(warmup * total)) if warmup else 0
    assert factors[:rising] == pytest.approx([(step + 1) / rising for step in range(rising)])
    assert max(factors) == factors[rising] == 1.0
    assert all(0 < factor <= 1 for factor in factors[:-1])
    assert all(later <= earlier for earlier, later in itertools.pairwise(factors[rising:]))


def test_schedules_have_their_shape_and_end_where_they_should() -> None:
    by_name = {name: [schedule_factor(name, step, 100, 0.0) for step in (0, 1, 50, 99, 100)] for name in SCHEDULES}
    assert by_name["constant"] == [1.0] * 5
    assert by_name["one_cycle"] == pytest.approx([1, 0.99, 0.5, 0.01, 0])
    assert by_name["cosine"][2:] == pytest.approx([0.5, 0.000247, 0], abs=1e-6) and by_name["cosine"][1] > 0.999


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_optimizer_follows_the_schedule_every_step(schedule: str, accelerator: Accelerator) -> None:
    state = fresh(accelerator, "sgd", schedule=schedule)
    for step in range(STEPS):
        expected = 0.05 * schedule_factor(schedule, step, STEPS, 0.25)
        assert [group["lr"] for group in state.optimizer.param_groups] == pytest.approx([expected, expected])
        train(state, range(step, step + 1))


def test_the_average_is_the_exponential_one_and_is_what_is_evaluated(accelerator: Accelerator) -> None:
    state = fresh(accelerator, "sgd", ema_decay=0.75)
    expected: dict[str, torch.Tensor] = {}
    for step in range(4):
        train(state, range(step, step + 1))
        for name, value in state.network.state_dict().items():
            if value.is_floating_point():
                expected[name] = value.clone() if step == 0 else 0.75 * expected[name] + 0.25 * value
    kept, raw = state.evaluated.state_dict(), state.network.state_dict()
    assert "features.1.running_mean" in expected, "statistics of batch norm are averaged too"
    for name, value in expected.items():
        torch.testing.assert_close(kept[name], value)
        assert not torch.equal(kept[name], raw[name])


@pytest.mark.parametrize("ema_decay", [0.0, 0.9])
def test_the_evaluated_weights_can_be_taken_from_saved_tensors(ema_decay: float, accelerator: Accelerator) -> None:
    state = fresh(accelerator, "sgd", ema_decay)
    train(state, range(3))
    weights, expected = evaluated_weights(state.tensors()), state.evaluated.state_dict()
    assert set(weights) == set(expected)
    assert all(torch.equal(weights[name], value) for name, value in expected.items())
    Toy().load_state_dict(weights)


@pytest.mark.parametrize(
    ("accuracies_and_losses", "best"),
    [
        ([(0.5, 1.0)], 1),
        ([(0.5, 1.0), (0.7, 2.0), (0.6, 0.1)], 2),
        ([(0.7, 1.0), (0.7, 0.5), (0.7, 0.8)], 2),
        ([(0.6, 0.1), (0.7, 0.5), (0.7, 0.5)], 2),
        ([(0.7, 0.5), (0.7, 0.5)], 1),
        ([(0.7, math.nan), (0.6, 0.5), (0.8, math.inf)], 2),
    ],
)
def test_the_best_epoch_is_by_accuracy_then_loss_then_the_first(
    accuracies_and_losses: list[tuple[float, float]], best: int
) -> None:
    history = [{"val_accuracy": accuracy, "val_loss": loss} for accuracy, loss in accuracies_and_losses]
    assert best_epoch(history, "val_accuracy") == best
