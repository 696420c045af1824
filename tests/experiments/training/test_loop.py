"""The training loop on toy networks: it learns, averages over items, stops on NaN, and resumes where it was."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn

from experiments.cnn.augmentation import ImageBatch
from experiments.cnn.classification import classification_step, predict
from experiments.config import TrainingError
from experiments.reports.classification import classification_metrics
from experiments.tracking.checkpoint import CheckpointStore
from experiments.training import loop
from experiments.training.loop import DivergedError, fit
from experiments.training.state import Metrics, StepResult, TrainState, make_state

CLASSES = 3


def network(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Dropout(dropout), nn.Linear(4 * 16, CLASSES))


def stateful_network() -> nn.Module:
    """All that has a state of its own: convolutions (their memory format), batch norm, dropout, a linear."""
    torch.manual_seed(0)
    features = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.Flatten())
    return nn.Sequential(features, nn.Dropout(0.5), nn.Linear(6 * 4, CLASSES))


def data(sizes: tuple[int, ...] = (8,), seed: int = 0) -> list[ImageBatch]:
    generator = torch.Generator().manual_seed(seed)
    return [
        ImageBatch(
            torch.randn(size, 2, 6, 6, generator=generator).contiguous(memory_format=torch.channels_last),
            torch.randint(0, CLASSES, (size,), generator=generator),
            size,
        )
        for size in sizes
    ]


def state_of(model: nn.Module, accelerator: Accelerator, **options: Any) -> TrainState:
    defaults: dict[str, Any] = {
        "optimizer": "sgd",
        "learning_rate": 0.05,
        "weight_decay": 0.0,
        "schedule": "constant",
        "warmup": 0.0,
        "ema_decay": 0.0,
        "total_steps": 100,
    }
    return make_state(accelerator, model, **{**defaults, **options})


def run(
    state: TrainState,
    epochs: int,
    batches: Callable[[int], Iterator[Any]] | None = None,
    step: Callable[[nn.Module, Any], StepResult] | None = None,
    evaluate: Callable[[nn.Module], Metrics] | None = None,
    **options: Any,
) -> list[tuple[int, Metrics]]:
    """Fit and return what `on_epoch_end` was given."""
    seen: list[tuple[int, Metrics]] = []
    fit(
        state,
        batches=batches or (lambda _: iter(data((8, 8)))),
        step=step or classification_step,
        evaluate=evaluate or (lambda _: {"loss": 0.0}),
        epochs=epochs,
        seed=0,
        on_epoch_end=lambda epoch, metrics: seen.append((epoch, dict(metrics))),
        **options,
    )
    return seen


@pytest.mark.parametrize(("optimizer", "learning_rate"), [("sgd", 0.05), ("adamw", 0.02), ("muon", 0.02)])
def test_a_tiny_batch_is_overfitted(optimizer: str, learning_rate: float, accelerator: Accelerator) -> None:
    state = state_of(network(), accelerator, optimizer=optimizer, learning_rate=learning_rate)
    seen = run(state, 60, batches=lambda _: iter(data()))
    assert seen[-1][1]["train_accuracy"] == 1.0
    assert seen[-1][1]["train_loss"] < 0.05 < seen[0][1]["train_loss"]


def test_metrics_are_complete_and_those_of_the_history(accelerator: Accelerator) -> None:
    state = state_of(network(), accelerator)
    seen = run(state, 3, evaluate=lambda _: {"loss": 0.5, "f1": 0.25})
    assert [metrics for _, metrics in seen] == state.history
    assert set(state.history[0]) == {
        "train_loss",
        "train_accuracy",
        "val_loss",
        "val_f1",
        "learning_rate",
        "epoch_seconds",
        "examples_per_second",
    }
    assert (state.history[0]["val_loss"], state.history[0]["val_f1"]) == (0.5, 0.25)
    assert all(isinstance(value, float) for value in state.history[0].values())
    assert state.history[0]["examples_per_second"] > 0 < state.history[0]["epoch_seconds"]


def test_training_averages_are_over_items_and_not_over_batches(accelerator: Accelerator) -> None:
    batches = data((4, 4, 1))
    model = network()
    with torch.no_grad():
        logits = [model(batch.images) for batch in batches]
    labels = torch.cat([batch.labels for batch in batches])
    losses = F.cross_entropy(torch.cat(logits), labels, reduction="none")
    by_batch = torch.stack([part.mean() for part in losses.split((4, 4, 1))]).mean()
    state = state_of(model, accelerator, learning_rate=1e-12)
    [(_, metrics)] = run(state, 1, batches=lambda _: iter(batches))
    assert metrics["train_loss"] == pytest.approx(losses.mean().item(), rel=1e-5)
    assert metrics["train_loss"] != pytest.approx(by_batch.item(), rel=1e-3)
    assert metrics["train_accuracy"] == pytest.approx((torch.cat(logits).argmax(1) == labels).float().mean().item())


def test_the_gradient_is_that_of_the_mean_over_the_batch(accelerator: Accelerator) -> None:
    [batch] = data((5,))
    model = network()
    F.cross_entropy(model(batch.images), batch.labels).backward()
    expected = [
        parameter.detach() - 1.9 * 0.05 * parameter.grad for parameter in model.parameters()
    ]  # Nesterov's first
    model.zero_grad()
    run(state_of(model, accelerator), 1, batches=lambda _: iter([batch]))
    for parameter, value in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.detach(), value)


@pytest.mark.parametrize(("epoch", "batch", "value"), [(1, 1, "nan"), (2, 3, "inf"), (3, 2, "nan")])
def test_a_loss_that_is_not_finite_stops_naming_epoch_and_batch(
    epoch: int, batch: int, value: str, accelerator: Accelerator
) -> None:
    def batches(number: int) -> Iterator[ImageBatch]:
        for index, one in enumerate(data((4, 4, 4)), start=1):
            yield one._replace(images=one.images * float(value)) if (number, index) == (epoch, batch) else one

    def step(model: nn.Module, given: ImageBatch) -> StepResult:
        loss = model(given.images).sum() * 0 + given.images.sum()
        return StepResult(loss, {}, given.total)

    state = state_of(network(), accelerator)
    with pytest.raises(DivergedError, match=f"in epoch {epoch}, batch {batch};.*learning_rate"):
        run(state, 5, batches=batches, step=step)
    assert state.epoch == epoch - 1
    assert issubclass(DivergedError, TrainingError)


def test_a_validation_loss_that_never_is_finite_ends_in_an_error(accelerator: Accelerator) -> None:
    losses = iter([math.nan, math.inf, 0.5, math.nan])
    state = state_of(network(), accelerator)
    with pytest.raises(DivergedError, match="the validation loss is inf after every epoch; a lower learning_rate"):
        run(state, 2, evaluate=lambda _: {"loss": next(losses)})
    run(state, 4, evaluate=lambda _: {"loss": next(losses)})
    assert state.epoch == 4


@pytest.mark.parametrize(("bad", "newest"), [(1, 10), (4, 10), (10, 10), (8, 3), (10, 3), (10, 1)])
def test_a_loss_looked_at_late_is_still_named_by_its_own_batch(bad: int, newest: int, accelerator: Accelerator) -> None:
    losses = [torch.tensor(1.0)] * 10
    losses[bad - 1] = torch.tensor(float("nan"))
    for late in (losses, [loss.item() for loss in losses]):
        with pytest.raises(DivergedError, match=f"the loss is nan in epoch 7, batch {bad};"):
            loop._check_finite(accelerator, late[-newest:], done=10, epoch=7)


@pytest.mark.parametrize("clip", [0.01, 0.1])
def test_grad_clip_bounds_the_update(clip: float, accelerator: Accelerator) -> None:
    def moved(grad_clip: float) -> float:
        model = network()
        before = [parameter.detach().clone() for parameter in model.parameters()]
        run(state_of(model, accelerator), 1, batches=lambda _: iter(data()), grad_clip=grad_clip)
        steps = [new.detach() - old for new, old in zip(model.parameters(), before, strict=True)]
        return torch.stack([step.norm() for step in steps]).norm().item()

    assert moved(clip) == pytest.approx(1.9 * 0.05 * clip, rel=1e-3)
    assert moved(clip) < moved(0.0)
    assert moved(1e6) == moved(0.0)


def test_the_average_is_evaluated_and_differs_from_the_network(accelerator: Accelerator) -> None:
    state = state_of(network(), accelerator, ema_decay=0.9)
    evaluated: list[nn.Module] = []

    def evaluate(model: nn.Module) -> Metrics:
        evaluated.append(model)
        assert not torch.equal(next(model.parameters()), next(state.network.parameters()))
        return classification_metrics(predict(model, data((8,), seed=1), accelerator))

    [(_, metrics)] = run(state, 1, evaluate=evaluate)
    assert evaluated == [state.evaluated]
    raw = classification_metrics(predict(state.network, data((8,), seed=1), accelerator))
    assert metrics["val_loss"] != raw["loss"]


def test_training_continues_in_train_mode_after_evaluation(accelerator: Accelerator) -> None:
    state = state_of(network(dropout=0.5), accelerator)
    modes: list[bool] = []

    def step(model: nn.Module, batch: ImageBatch) -> StepResult:
        modes.append(all(module.training for module in model.modules()))
        return classification_step(model, batch)

    def evaluate(model: nn.Module) -> Metrics:
        assert not any(module.training for module in model.modules())
        return {}

    run(state, 2, step=step, evaluate=evaluate)
    assert modes == [True] * 4


def test_learning_rate_is_that_of_the_last_step_of_the_epoch(accelerator: Accelerator) -> None:
    state = state_of(network(), accelerator, schedule="one_cycle", total_steps=4, learning_rate=0.1)
    rates = [metrics["learning_rate"] for _, metrics in run(state, 2)]
    assert rates == pytest.approx([0.1 * 3 / 4, 0.1 * 1 / 4])


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
@pytest.mark.parametrize("schedule", ["cosine", "one_cycle", "constant"])
@pytest.mark.parametrize("ema_decay", [0.0, 0.8])
@pytest.mark.parametrize("sizes", [(4, 4, 2), (6,)])
def test_from_a_checkpoint_fit_resumes_at_the_right_epoch_bit_for_bit(
    optimizer: str, schedule: str, ema_decay: float, sizes: tuple[int, ...], accelerator: Accelerator, tmp_path: Path
) -> None:
    asked: list[int] = []

    def batches(epoch: int) -> Iterator[ImageBatch]:
        asked.append(epoch)
        return iter(data(sizes, seed=epoch))

    def fresh() -> TrainState:
        options = {"optimizer": optimizer, "schedule": schedule, "ema_decay": ema_decay, "warmup": 0.3}
        return state_of(stateful_network(), accelerator, total_steps=4 * len(sizes), learning_rate=0.01, **options)

    whole, first, second, store = fresh(), fresh(), fresh(), CheckpointStore(tmp_path)
    expected = run(whole, 4, batches=batches)
    run(first, 2, batches=batches)
    store.save(2, first.tensors(), first.values())
    run(second, 1, batches=batches)  # whatever it was before must not show
    checkpoint = store.load(2)
    second.restore(checkpoint.tensors, checkpoint.values)
    asked.clear()
    seen = run(second, 4, batches=batches)
    assert asked == [epoch for epoch, _ in seen] == [3, 4]
    for part, tensors in whole.tensors().items():
        for name, value in tensors.items():
            assert torch.equal(value, second.tensors()[part][name]), f"{part} {name}"
    for name in ("train_loss", "train_accuracy", "learning_rate"):
        assert [metrics[name] for _, metrics in seen] == [metrics[name] for _, metrics in expected[2:]]
    assert run(second, 4, batches=batches) == []


def test_label_smoothing_and_right_answers_are_those_of_torch(accelerator: Accelerator) -> None:
    [batch] = data((6,))
    model = network()
    result = classification_step(model, batch._replace(total=24), 0.2)
    logits = model(batch.images)
    torch.testing.assert_close(result.loss, 6 * F.cross_entropy(logits, batch.labels, label_smoothing=0.2))
    assert result.sums["accuracy"] == (logits.argmax(1) == batch.labels).sum()
    assert result.total == 24
    assert result.loss.requires_grad and not result.sums["accuracy"].requires_grad


def test_predictions_do_not_depend_on_how_the_data_are_batched(accelerator: Accelerator) -> None:
    model = network(dropout=0.9).train()
    [batch] = data((9,))
    pieces = [ImageBatch(batch.images[i : i + 2], batch.labels[i : i + 2], 2) for i in range(0, 9, 2)]
    whole, parts = predict(model, [batch], accelerator), predict(model, pieces, accelerator)
    np.testing.assert_allclose(whole.probabilities, parts.probabilities, rtol=1e-5)
    assert whole.loss == pytest.approx(parts.loss, rel=1e-5)
    assert np.array_equal(whole.labels, parts.labels)
    np.testing.assert_allclose(whole.probabilities.sum(axis=1), 1, rtol=1e-5)
    picked = whole.probabilities[np.arange(9), whole.labels]
    assert whole.loss == pytest.approx(-np.log(picked).mean(), rel=1e-4)
    assert not model.training
