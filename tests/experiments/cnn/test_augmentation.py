"""Batches against naive, per-image implementations: what is seen, how often, in which order, on how many processes."""

import itertools

import numpy as np
import pytest
import torch

from experiments.cnn.augmentation import Augmentation, ImageBatch, Normalize, TrainingBatches, evaluation_batches
from experiments.data.images import Subset

SIZE = 32


def pixels(count: int, channels: int = 1, lowest: int = 0) -> Subset:
    """Random images whose labels are their numbers."""
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(lowest, 256, (count, channels, SIZE, SIZE), dtype=torch.uint8, generator=generator)
    return Subset(images.contiguous(memory_format=torch.channels_last), torch.arange(count))


def as_they_are(channels: int = 1) -> Normalize:
    """A normalization that leaves the values of the pixels, so that they can be compared exactly."""
    return Normalize((0.0,) * channels, (1 / 255,) * channels, "cpu")


def training(
    data: Subset, augmentation: Augmentation | None = None, batch_size: int = 16, seed: int = 0, **processes: int
) -> TrainingBatches:
    return TrainingBatches(
        data, as_they_are(data.images.shape[1]), augmentation or Augmentation(), batch_size, seed=seed, **processes
    )


def together(batches: list[ImageBatch]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.cat([batch.images for batch in batches]), torch.cat([batch.labels for batch in batches])


EVERYTHING = Augmentation(crop=4, flip=True, cutout=8)
COMBINATIONS = list(itertools.product((1, 2, 3, 5, 16, 17, 40), (1, 2, 3, 5, 16, 64), (1, 2, 3)))


@pytest.mark.parametrize("augmentation", [Augmentation(), EVERYTHING])
def test_every_image_is_seen_exactly_once_an_epoch_with_its_label(augmentation: Augmentation) -> None:
    batches = training(pixels(50), augmentation)
    for epoch in (1, 2):
        _, labels = together(list(batches.epoch(epoch)))
        assert sorted(labels.tolist()) == list(range(50))
        assert labels.tolist() != list(range(50))


@pytest.mark.parametrize("channels", [1, 3])
def test_without_augmentation_batches_hold_the_normalized_originals(channels: int) -> None:
    data = pixels(50, channels)
    mean, std = (0.1, 0.5, 0.9)[:channels], (0.2, 0.3, 0.4)[:channels]
    batches = TrainingBatches(data, Normalize(mean, std, "cpu"), Augmentation(), 16, seed=0)
    images, labels = together(list(batches.epoch(1)))
    scaled = data.images[labels].double() / 255
    expected = (scaled - torch.tensor(mean).double().view(-1, 1, 1)) / torch.tensor(std).double().view(-1, 1, 1)
    torch.testing.assert_close(images.double(), expected, rtol=1e-5, atol=1e-5)
    assert images.dtype == torch.float32


def test_batches_are_a_function_of_seed_and_epoch() -> None:
    data = pixels(50)

    def images(seed: int, epoch: int) -> torch.Tensor:
        return together(list(training(data, EVERYTHING, seed=seed).epoch(epoch)))[0]

    reference = images(3, 2)
    used = training(data, EVERYTHING, seed=3)
    list(used.epoch(1))
    torch.manual_seed(99)
    assert torch.equal(together(list(used.epoch(2)))[0], reference)
    assert not torch.equal(images(3, 1), reference)
    assert not torch.equal(images(4, 2), reference)


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("batch_size", [7, 16, 50])
def test_the_parts_of_all_processes_make_up_the_batch_of_one(world_size: int, batch_size: int) -> None:
    data = pixels(50, 3)
    ranks = [
        training(data, EVERYTHING, batch_size, rank=rank, world_size=world_size).epoch(1) for rank in range(world_size)
    ]
    for whole, *rank_parts in zip(training(data, EVERYTHING, batch_size).epoch(1), *ranks, strict=False):
        images, labels = together(rank_parts)
        assert torch.equal(images, whole.images)
        assert torch.equal(labels, whole.labels)
        assert {part.total for part in rank_parts} == {whole.total} == {len(whole.labels)}
        sizes = [len(part.labels) for part in rank_parts]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("count", "batch_size", "world_size"), COMBINATIONS)
def test_len_is_the_number_of_batches_and_only_a_scrap_is_left_out(
    count: int, batch_size: int, world_size: int
) -> None:
    batches = training(pixels(count), batch_size=batch_size, world_size=world_size)
    totals = [batch.total for batch in batches.epoch(1)]
    assert len(totals) == len(batches) >= 1
    assert all(total == batch_size for total in totals[:-1])
    left_out = count - sum(totals)
    assert 0 <= left_out < min(batch_size, 2 * world_size)
    assert left_out == 0 or len(totals) == count // batch_size


def test_a_last_batch_of_one_image_is_left_out() -> None:
    assert [batch.total for batch in training(pixels(33)).epoch(1)] == [16, 16]
    assert [batch.total for batch in training(pixels(34)).epoch(1)] == [16, 16, 2]
    assert [batch.total for batch in training(pixels(35), world_size=2).epoch(1)] == [16, 16]


def shifted(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The naive shift: pixel by pixel, zero from outside."""
    result = np.zeros_like(image)
    for row, column in itertools.product(range(SIZE), repeat=2):
        if 0 <= row + rows < SIZE and 0 <= column + columns < SIZE:
            result[:, row, column] = image[:, row + rows, column + columns]
    return result


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("flip", [False, True])
def test_shifted_and_mirrored_images_equal_the_naive_ones(channels: int, flip: bool) -> None:
    data = pixels(6, channels)
    possible: dict[tuple[int, bytes], tuple[int, int, bool]] = {}
    for number, image in enumerate(data.images.numpy()):
        for rows, columns in itertools.product(range(-2, 3), repeat=2):
            moved = shifted(image, rows, columns)
            possible[number, moved.tobytes()] = (rows, columns, False)
            if flip:
                possible[number, moved[..., ::-1].tobytes()] = (rows, columns, True)
    assert len(possible) == 6 * 25 * (2 if flip else 1)
    seen = set()
    for epoch in range(1, 41):
        images, labels = together(list(training(data, Augmentation(crop=2, flip=flip)).epoch(epoch)))
        for image, number in zip(images.byte(), labels.tolist(), strict=True):
            seen.add(possible[number, image.contiguous().numpy().tobytes()])
    assert {(rows, columns) for rows, columns, _ in seen} == set(itertools.product(range(-2, 3), repeat=2))


@pytest.mark.parametrize("channels", [1, 3])
def test_every_image_is_mirrored_in_exactly_every_other_epoch(channels: int) -> None:
    data = pixels(40, channels)
    batches = training(data, Augmentation(flip=True))
    mirrored = []
    for epoch in range(1, 5):
        images, labels = together(list(batches.epoch(epoch)))
        originals = data.images[labels]
        same = (images == originals).flatten(1).all(dim=1)
        flipped = (images == originals.flip(3)).flatten(1).all(dim=1)
        assert torch.all(same ^ flipped)
        mirrored.append(flipped[labels.argsort()])
    assert torch.equal(mirrored[0], ~mirrored[1])
    assert torch.equal(mirrored[0], mirrored[2])
    assert torch.equal(mirrored[1], mirrored[3])
    assert 8 < mirrored[0].sum() < 32


def square(row: int, column: int, side: int) -> np.ndarray:
    """The naive hole: a square of `side` around a pixel, cut off at the border."""
    hole = np.zeros((SIZE, SIZE), bool)
    top, left = row - side // 2, column - side // 2
    hole[max(0, top) : max(0, top + side), max(0, left) : max(0, left + side)] = True
    return hole


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [1, 2, 7, 8])
def test_cutout_clears_exactly_one_square_in_all_channels(channels: int, side: int) -> None:
    data = pixels(100, channels, lowest=1)
    squares = {square(row, column, side).tobytes() for row, column in itertools.product(range(SIZE), repeat=2)}
    images, labels = together(
        [batch for epoch in (1, 2) for batch in training(data, Augmentation(cutout=side)).epoch(epoch)]
    )
    empty = images == 0
    assert all(mask.numpy().tobytes() in squares for mask in empty[:, 0])
    assert torch.equal(empty, empty[:, :1].expand_as(empty))
    assert torch.equal(images[~empty], data.images[labels].float()[~empty])
    sizes = empty[:, 0].sum(dim=(1, 2))
    assert sizes.max() == side * side
    assert side == 1 or sizes.min() < side * side, "none was cut off at the border"


@pytest.mark.parametrize("channels", [1, 3])
def test_batches_are_channels_last(channels: int) -> None:
    data = pixels(20, channels)
    normalize = as_they_are(channels)
    for batch in [*training(data, EVERYTHING).epoch(1), *evaluation_batches(data, normalize, 8)]:
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert batch.images.shape[1:] == (channels, SIZE, SIZE)


@pytest.mark.parametrize("batch_size", [1, 7, 20, 1000])
def test_evaluation_gives_everything_in_order(batch_size: int) -> None:
    data = pixels(20, 3)
    batches = list(evaluation_batches(data, as_they_are(3), batch_size))
    images, labels = together(batches)
    assert torch.equal(images, data.images.float())
    assert torch.equal(labels, data.labels)
    assert [batch.total for batch in batches] == [len(batch.labels) for batch in batches]
    assert max(len(batch.labels) for batch in batches) == min(batch_size, 20)


def test_the_data_are_left_as_they_were() -> None:
    data = pixels(20, 3)
    before = data.images.clone()
    for batch in training(data, EVERYTHING).epoch(1):
        batch.images.zero_()
    assert torch.equal(data.images, before)
