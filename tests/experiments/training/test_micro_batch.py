"""Batches that do not fit into memory: run in parts, to the same result. Memory is simulated by a network's refusal."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from mlflow import MlflowClient
from torch import nn

from experiments import train_cnn
from experiments.cnn.augmentation import ImageBatch
from experiments.cnn.classification import classification_step
from experiments.config import TrainingError
from experiments.data.sequences import SequenceBatches, make_sequences
from experiments.seq2seq.reversal import reversal_step
from experiments.training.loop import fit
from experiments.training.micro_batch import Divide, MicroBatches, by_items
from experiments.training.state import TrainState, make_state
from models.seq2seq import SPECIALS, build
from tests.support.runs import TINY, assert_same_weights, histories, weights

pytestmark = pytest.mark.full

CLASSES = 3


class Small(nn.Module):
    """A network for whose activations memory has room for so many images."""

    def __init__(self, room: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, CLASSES))
        self.room, self.sizes = room, []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(images))
        if len(images) > self.room:
            torch.empty(10**15)  # what a CPU's allocator says of too much
        return self.layers(images)


def batches(_: int) -> Iterator[ImageBatch]:
    generator = torch.Generator().manual_seed(1)
    for size in (10, 10, 7):
        images = torch.randn(size, 2, 6, 6, generator=generator).contiguous(memory_format=torch.channels_last)
        yield ImageBatch(images, torch.randint(0, CLASSES, (size,), generator=generator), size)


def train(room: int, accelerator: Accelerator, divide: Divide | None = by_items) -> tuple[TrainState, Small, list[int]]:
    network, said = Small(room), []
    state = make_state(
        accelerator,
        network,
        optimizer="sgd",
        learning_rate=0.05,
        weight_decay=0.01,
        schedule="constant",
        warmup=0.0,
        ema_decay=0.0,
        total_steps=100,
    )
    fit(
        state,
        batches=batches,
        step=classification_step,
        evaluate=lambda _: {"loss": 0.0},
        epochs=2,
        seed=0,
        on_epoch_end=lambda *_: None,
        grad_clip=1.0,
        divide=divide,
        on_smaller=said.append,
    )
    return state, network, said


def test_parts_give_the_steps_of_whole_batches(accelerator: Accelerator) -> None:
    whole, _, unsaid = train(100, accelerator)
    parts, network, said = train(3, accelerator)
    assert unsaid == [] and said == [5, 3]
    assert network.sizes[:6] == [10, 5, 3, 3, 3, 1] and network.sizes.count(10) == 1
    for one, other in zip(whole.network.parameters(), parts.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
    for one, other in zip(whole.history, parts.history, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-5)
        assert one["train_accuracy"] == other["train_accuracy"]


def test_what_a_failed_try_had_added_is_taken_back(accelerator: Accelerator) -> None:
    batch = next(batches(1))
    whole, parts = Small(100), Small(100)
    MicroBatches(accelerator, whole, classification_step).backward(batch)
    calls = iter(range(100))

    def step(model: nn.Module, part: ImageBatch) -> Any:
        if next(calls) == 1:  # the first half went well
            raise torch.OutOfMemoryError("simulated")
        return classification_step(model, part)

    micro = MicroBatches(accelerator, parts, step, by_items)
    micro.size = 5
    micro.backward(batch)
    assert micro.size == 3
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-5, atol=1e-6)


def test_memory_for_less_than_one_example_and_batches_that_cannot_be_cut_end_the_training(
    accelerator: Accelerator,
) -> None:
    with pytest.raises(TrainingError, match="out of memory with one example at a time"):
        train(0, accelerator)
    with pytest.raises(TrainingError, match="out of memory; a smaller batch_size needs less"):
        train(3, accelerator, divide=None)


def test_of_several_processes_none_continues_alone(accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Accelerator, "num_processes", 2)
    micro = MicroBatches(accelerator, Small(3), classification_step, by_items)
    with pytest.raises(TrainingError, match="a smaller batch_size, or more processes"):
        micro.backward(next(batches(1)))


@pytest.mark.parametrize("cell", ["gru", "transformer"])
def test_sequences_are_cut_between_pairs_and_averaged_over_all_tokens(cell: str, accelerator: Accelerator) -> None:
    data = make_sequences(9, 2, 8, sizes=(24, 4, 4), probe_size=4, seed=0, device="cpu")
    batch = next(SequenceBatches(data.train, 24, seed=0, epochs=1, teacher_forcing=1.0).epoch(1))
    gradients: list[list[torch.Tensor]] = []
    results = []
    for room in (24, 7):
        torch.manual_seed(0)
        network = build(cell, "dot", "sinusoidal", 9 + SPECIALS, 16, max_length=50, dropout=0.0, layers=1)

        def step(model: nn.Module, part: Any, room: int = room) -> Any:
            if len(part.pairs) > room:
                raise torch.OutOfMemoryError("simulated")
            return reversal_step(model, part)

        micro = MicroBatches(accelerator, network, step, by_items)
        results.append(micro.backward(batch))
        assert micro.size == (None if room == 24 else 6)
        gradients.append([value.grad for value in network.parameters() if value.grad is not None])
    assert results[0].total == results[1].total and results[0].examples == results[1].examples == 24
    torch.testing.assert_close(results[0].loss, results[1].loss)
    assert torch.equal(results[0].sums["accuracy"], results[1].sums["accuracy"])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_a_run_says_in_one_line_and_a_tag_that_it_went_on_in_parts(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from experiments.cnn import setup

    arguments = [*TINY, "--precision", "fp32", "--register", "no"]
    whole = train_cnn.main(arguments)

    def step(model: nn.Module, batch: ImageBatch, smoothing: float) -> Any:
        if len(batch.images) > 30:
            raise torch.OutOfMemoryError("simulated")
        return classification_step(model, batch, smoothing)

    monkeypatch.setattr(setup, "classification_step", step)
    capsys.readouterr()
    parts = train_cnn.main(arguments)
    assert whole is not None and parts is not None
    said = [line for line in capsys.readouterr().err.splitlines() if "memory" in line]
    assert said == ["warning: out of memory: continuing with 25 examples at a time; batch_size stays 50"]
    assert MlflowClient().get_run(parts.run_id).data.tags["micro_batch"] == "25"
    assert "micro_batch" not in MlflowClient().get_run(whole.run_id).data.tags
    for key, values in histories(whole.run_id).items():
        assert [value for _, value in histories(parts.run_id)[key]] == pytest.approx(
            [value for _, value in values], rel=1e-3, abs=1e-3
        ), key
    one, other = weights(whole.run_id, 2), weights(parts.run_id, 2)
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-3, atol=1e-4)
    with pytest.raises(AssertionError):  # the order of additions did change: parts were really run
        assert_same_weights(one, other)
