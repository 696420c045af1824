"""Splits, statistics and tensors of the image data sets: who goes where, and that every image keeps its label."""

import numpy as np
import pytest
import torch

from experiments.config import ConfigError
from experiments.data import images as data
from experiments.data.images import ImageData, Subset, load_images
from experiments.data.sources import RawImages

CLASSES = tuple("abcde")


def numbered(count: int, first: int, channels: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Random images that carry their number in the first two pixels; the label is a function of the number."""
    numbers = np.arange(first, first + count)
    images = np.random.default_rng(first).integers(0, 256, (count, size, size, channels), dtype=np.uint8)
    images[:, 0, 0], images[:, 0, 1] = (numbers // 256)[:, None], (numbers % 256)[:, None]
    return images, label_of(numbers)


def label_of(numbers: np.ndarray) -> np.ndarray:
    return (numbers * 7 % 11 % len(CLASSES)).astype(np.uint8)


def serve(monkeypatch: pytest.MonkeyPatch, raw: RawImages) -> None:
    """Let `raw` stand in for what is on the disk."""
    monkeypatch.setattr(data, "load_raw", lambda name, data_dir: raw)


def numbers_of(subset: Subset) -> list[int]:
    pixels = subset.images[:, 0, 0].long()
    return (pixels[:, 0] * 256 + pixels[:, 1]).tolist()


@pytest.fixture(params=["color with a test set", "gray without"])
def toy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> RawImages:
    """A data set of 32 x 32, so that tensors hold the very pixels."""
    if request.param == "color with a test set":
        train, test = numbered(600, 0, 3, 32), numbered(90, 600, 3, 32)
        raw = RawImages(*train, *test, CLASSES, False, "memory")
    else:
        raw = RawImages(*numbered(500, 0, 1, 32), None, None, CLASSES, True, "memory")
    serve(monkeypatch, raw)
    return raw


def parts(images: ImageData) -> tuple[Subset, Subset, Subset]:
    return images.train, images.val, images.test


@pytest.fixture(scope="module")
def digits() -> ImageData:
    return load_images("digits")


def test_digits_are_split_70_10_20(digits: ImageData) -> None:
    assert [len(part) for part in parts(digits)] == [1258, 180, 359]
    assert digits.verified
    assert digits.channels == 1


def test_a_published_test_set_stays_the_test_set(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = RawImages(*numbered(3000, 0, 1, 32), *numbered(90, 3000, 1, 32), CLASSES, False, "memory")
    serve(monkeypatch, raw)
    images = load_images("toy")
    assert numbers_of(images.test) == list(range(3000, 3090))
    assert (len(images.train), len(images.val)) == (2700, 300)


def test_validation_has_at_least_200_images_of_a_published_training_set(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = RawImages(*numbered(600, 0, 3, 32), *numbered(90, 600, 3, 32), CLASSES, False, "memory")
    serve(monkeypatch, raw)
    images = load_images("toy")
    assert (len(images.train), len(images.val), len(images.test)) == (400, 200, 90)


def test_the_parts_are_disjoint_and_together_everything(toy: RawImages) -> None:
    numbers = [number for part in parts(load_images("toy")) for number in numbers_of(part)]
    total = len(toy.train_images) + (0 if toy.test_images is None else len(toy.test_images))
    assert sorted(numbers) == list(range(total))


def test_every_image_keeps_its_label(toy: RawImages) -> None:
    for part in parts(load_images("toy", train_size=100)):
        assert part.labels.tolist() == label_of(np.array(numbers_of(part))).tolist()
        assert part.labels.dtype == torch.int64
    assert toy.classes == CLASSES


@pytest.mark.parametrize("options", [{}, {"val_size": 77}, {"train_size": 123}])
def test_the_split_is_stratified(options: dict[str, int]) -> None:
    images = load_images("digits", **options)
    everything = torch.cat([part.labels for part in parts(load_images("digits"))])
    share = torch.bincount(everything, minlength=10) / len(everything)
    for part in parts(images):
        assert torch.all((torch.bincount(part.labels, minlength=10) - share * len(part)).abs() < 2)


def test_the_split_depends_on_split_seed_only(toy: RawImages) -> None:
    np.random.seed(1)
    torch.manual_seed(1)
    one = load_images("toy")
    np.random.seed(2)
    torch.manual_seed(2)
    same, other = load_images("toy", data_dir="elsewhere"), load_images("toy", split_seed=1)
    assert [numbers_of(part) for part in parts(one)] == [numbers_of(part) for part in parts(same)]
    assert one.split_sha256 == same.split_sha256
    assert numbers_of(one.val) != numbers_of(other.val)
    assert one.split_sha256 != other.split_sha256
    assert one.sha256 == other.sha256 == toy.digest()


def test_train_size_changes_neither_validation_nor_test(toy: RawImages) -> None:
    full, part = load_images("toy"), load_images("toy", train_size=60)
    assert len(part.train) == 60
    assert set(numbers_of(part.train)) < set(numbers_of(full.train))
    assert numbers_of(part.val) == numbers_of(full.val)
    assert numbers_of(part.test) == numbers_of(full.test)
    assert part.split_sha256 != full.split_sha256
    assert part.sha256 == full.sha256 == toy.digest()


def test_val_size_is_taken_from_the_training_images(toy: RawImages) -> None:
    full, part = load_images("toy"), load_images("toy", val_size=33)
    assert len(part.val) == 33
    assert len(part.train) == len(full.train) + len(full.val) - 33
    assert numbers_of(part.test) == numbers_of(full.test)
    assert part.split_sha256 != full.split_sha256
    assert toy.verified == part.verified


@pytest.mark.parametrize("size", [len(CLASSES), 595])
def test_the_extreme_validation_sizes_work(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = RawImages(*numbered(600, 0, 3, 32), *numbered(90, 600, 3, 32), CLASSES, False, "memory")
    serve(monkeypatch, raw)
    images = load_images("toy", val_size=size)
    assert (len(images.val), len(images.train)) == (size, 600 - size)


@pytest.mark.parametrize("size", [10, 1250, 1254, 1257, 1258])
def test_the_extreme_training_sizes_of_digits_work(size: int) -> None:
    assert len(load_images("digits", train_size=size).train) == size


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"val_size": 9}, "val_size is 9; valid for this data set: 10 to 1428"),
        ({"val_size": 1429}, "val_size is 1429; valid for this data set: 10 to 1428"),
        ({"train_size": 9}, "train_size is 9; valid for this data set: 10 to 1258"),
        ({"train_size": 1259}, "train_size is 1259; valid for this data set: 10 to 1258"),
        ({"train_size": 400, "val_size": 1100}, "train_size is 400; valid for this data set: 10 to 338"),
    ],
)
def test_a_size_that_the_data_do_not_have_is_refused_with_the_range(options: dict[str, int], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        load_images("digits", **options)


def test_a_rare_class_is_split_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = numbered(600, 0, 1, 32)
    labels = np.where(labels == 4, 0, labels).astype(np.uint8)
    labels[[100, 200]] = 4
    raw = RawImages(images, labels, images, labels, CLASSES, False, "memory")
    serve(monkeypatch, raw)
    for val_size in (200, 300, 400):
        try:
            assert len(load_images("toy", val_size=val_size, train_size=100).train) == 100
        except ConfigError as error:
            assert "class" in str(error)


def test_mean_and_std_are_those_of_the_training_images(toy: RawImages) -> None:
    images = load_images("toy")
    pixels = images.train.images.double().numpy() / 255
    assert images.mean == pytest.approx(pixels.mean(axis=(0, 2, 3)), rel=1e-12)
    assert images.std == pytest.approx(pixels.std(axis=(0, 2, 3)), rel=1e-9)
    assert len(images.mean) == images.channels == toy.train_images.shape[3]
    everything = toy.train_images / 255
    assert images.mean != pytest.approx(everything.mean(axis=(0, 1, 2)), rel=1e-12)


@pytest.mark.parametrize("size", [8, 28, 32, 40])
@pytest.mark.parametrize("channels", [1, 3])
def test_images_are_uint8_32_by_32_channels_last(size: int, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = RawImages(*numbered(100, 0, channels, size), None, None, CLASSES, False, "memory")
    serve(monkeypatch, raw)
    for part in parts(load_images("toy")):
        assert part.images.shape == (len(part), channels, 32, 32)
        assert part.images.dtype == torch.uint8
        assert part.images.is_contiguous(memory_format=torch.channels_last)
        if size == 28:
            assert part.images[:, :, 2:30, 2:30].float().mean() > 0
            assert part.images[:, :, [0, 1, 30, 31]].max() == part.images[..., [0, 1, 30, 31]].max() == 0


def test_data_sets_are_read_once_where_they_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    honest = data.load_raw
    monkeypatch.setattr(data, "load_raw", lambda name, folder: read.append(name) or honest(name, folder))
    with data.kept_in_memory():
        first = load_images("digits")
        with data.kept_in_memory():
            assert load_images("digits") is first and len(read) == 1
        for size in range(100, 100 + data.MOST_KEPT):
            assert len(load_images("digits", train_size=size).train) == size
        assert load_images("digits") is not first and len(read) == 2 + data.MOST_KEPT
    load_images("digits")
    assert len(read) == 3 + data.MOST_KEPT
