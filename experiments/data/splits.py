"""Which images are for training, validation and test: stratified by class, a function of the labels and a seed."""

import hashlib
from collections.abc import Iterable

import numpy as np

from experiments.config import ConfigError
from experiments.data.downloads import DataError
from tasks.parameters import short

MIN_VALIDATION = 200
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1  # where the authors publish no split

Split = tuple[np.ndarray, np.ndarray, np.ndarray]


def split_published(labels: np.ndarray, train_count: int, classes: int, val_size: int | None, seed: int) -> Split:
    """Sorted indices of the training, validation and test images of a published data set.

    Args: train_count: how many come first that the authors publish for training; all where they publish no split.
    """
    everything = np.arange(len(labels))
    if train_count == len(labels):
        pool, test = take(everything, labels, round(TEST_SHARE * len(labels)), seed)
        default = round(VALIDATION_SHARE * len(labels))
    else:
        pool, test = everything[:train_count], everything[train_count:]
        default = max(MIN_VALIDATION, round(VALIDATION_SHARE * len(pool)))
    val_count = default if val_size is None else val_size
    check_size("val_size", val_count, classes, len(pool) - classes)
    return *take(pool, labels, val_count, seed), test


def split_own(
    parts: np.ndarray, labels: np.ndarray, classes: tuple[str, ...], val_size: int | None, seed: int, origin: str
) -> Split:
    """The same of own images: as their `parts` say; what they lack, at least one of each class out of training.

    Raises DataError for a class with too few images.
    """
    pool = np.flatnonzero((parts == "train") | (parts == ""))
    val, test = np.flatnonzero(parts == "val"), np.flatnonzero(parts == "test")
    least = 1 + (len(val) == 0) + (len(test) == 0)
    counts = np.bincount(labels[pool], minlength=len(classes))
    if counts.min() < least:
        few = [f"{short(classes[one])} has {counts[one]}" for one in np.flatnonzero(counts < least)[:5]]
        raise DataError(
            f"{origin} has a class with too few pictures that can be read ({', '.join(few)}); valid: at least {least} "
            "for training, to have one of each class in every part that is taken from them"
        )
    whole = len(pool)
    if not len(test):
        pool, test = take_of_each(pool, labels, round(TEST_SHARE * whole), seed)
    if len(val) and val_size not in (None, len(val)):
        raise ConfigError(f"val_size is {val_size}; valid: auto, as {origin} brings its {len(val)} validation images")
    if not len(val):
        val_count = max(round(VALIDATION_SHARE * whole), len(classes)) if val_size is None else val_size
        check_size("val_size", val_count, len(classes), len(pool) - len(classes))
        pool, val = take_of_each(pool, labels, val_count, seed)
    return pool, val, test


def shortened(train: np.ndarray, labels: np.ndarray, train_size: int, classes: int, seed: int) -> np.ndarray:
    """A stratified part of the training images; all for 0."""
    if not train_size or train_size == len(train):
        return train
    check_size("train_size", train_size, classes, len(train))
    if len(train) - train_size < classes:  # too few left over for one of each class: any will do
        return train[:train_size]
    return take(train, labels, train_size, seed)[1]


def check_size(name: str, value: int, at_least: int, at_most: int) -> None:
    """Raise ConfigError for a size that a data set does not have."""
    if not at_least <= value <= at_most:
        raise ConfigError(f"{name} is {value}; valid for this data set: {at_least} to {at_most}")


def take(pool: np.ndarray, labels: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Split `pool` into the rest and a stratified sample of `count`, both sorted."""
    from sklearn.model_selection import train_test_split

    try:
        rest, taken = train_test_split(pool, test_size=count, random_state=seed, stratify=labels[pool])
    except ValueError as error:
        raise ConfigError(f"the data cannot be split so that every class is in every part ({error})") from error
    return np.sort(rest), np.sort(taken)


def take_of_each(pool: np.ndarray, labels: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """As `take`, with at least one of each class on both sides, which `train_test_split` does not promise."""
    present, sizes = np.unique(labels[pool], return_counts=True)
    fair = count * sizes / sizes.sum()
    counts = np.clip(fair.astype(int), 1, sizes - 1)
    while counts.sum() < count and (counts < sizes - 1).any():
        behind = np.where(counts < sizes - 1, fair - counts, -np.inf)
        counts[behind.argmax()] += 1
    random = np.random.RandomState(seed)  # whose numbers are the same in every version of NumPy
    chosen = [random.permutation(pool[labels[pool] == one])[:some] for one, some in zip(present, counts, strict=True)]
    taken = np.sort(np.concatenate(chosen))
    return np.setdiff1d(pool, taken), taken


def split_digest(*parts: np.ndarray) -> str:
    """SHA-256 of the indices of the parts."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(len(part).to_bytes(8, "little") + part.astype("<i8").tobytes())
    return sha.hexdigest()


def text_digest(texts: Iterable[str]) -> str:
    """SHA-256 of a sequence of texts: another order or another cut is another digest."""
    sha = hashlib.sha256()
    for text in texts:
        encoded = text.encode()
        sha.update(len(encoded).to_bytes(8, "little") + encoded)
    return sha.hexdigest()
