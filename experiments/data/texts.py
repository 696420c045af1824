"""Labeled texts of the user's own: checked, split once and for all, with digests and a report. Knows no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from experiments.config import ConfigError, FinetuneConfig
from experiments.data.splits import TEST_SHARE, VALIDATION_SHARE, check_size, split_digest, take_of_each, text_digest
from experiments.data.text_files import TextFile, read_text_file
from experiments.data.text_report import NAMED, describe_texts, left_out
from tasks.base import short
from tasks.texts import text_fault

PARTS = ("train", "val", "test")
PART_NAMES = {"training": "train", "valid": "val", "validation": "val", "dev": "val"} | {part: part for part in PARTS}
MIN_TEXTS = 3  # of a class: one in each part
MAX_CLASSES, MAX_LABEL = 1000, 100
# What tables write where there is no label.
NO_LABEL = ("", "nan", "null", "n/a", "#n/a", "<na>")


@dataclass(frozen=True)
class TextData:
    """Texts with their labels, and which part each is in.

    Attributes:
        labels: int64 `(texts,)`, places in `classes`.
        parts: for `train`, `val` and `test` the places of their texts, sorted.
        report: what `reports/data_report.json` says of them; `warnings` holds one sentence each.
    """

    name: str
    origin: str
    texts: list[str]
    labels: np.ndarray
    classes: tuple[str, ...]
    parts: Mapping[str, np.ndarray]
    sha256: str
    split_sha256: str
    report: dict[str, Any] = field(repr=False)

    @property
    def warnings(self) -> list[str]:
        return self.report["warnings"]

    def part(self, name: str) -> tuple[list[str], np.ndarray]:
        """The texts and labels of a part."""
        places = self.parts[name]
        return [self.texts[place] for place in places], self.labels[places]

    def ordered(self, classes: Sequence[str]) -> "TextData":
        """The same data with its classes in another order."""
        places = np.array([tuple(classes).index(name) for name in self.classes])
        return replace(self, classes=tuple(classes), labels=places[self.labels])

    def counts(self, name: str) -> np.ndarray:
        """How many texts of each class are in a part, int64 `(classes,)`."""
        return np.bincount(self.labels[self.parts[name]], minlength=len(self.classes))


def load_texts(config: FinetuneConfig) -> TextData:
    """Read, check and split the texts of a configuration.

    Equal texts (but for case and blanks) stay in one part. Rows without a text or a label, and those that no model can
    read, are left out and listed. The split depends on `split_seed` only; `train_size` keeps the same fraction of each
    class, and a larger one keeps the same texts and more.

    Raises ConfigError, in one line, for a file, columns, labels or sizes that cannot be used.
    """
    columns = {"text": config.text, "label": config.label}
    if config.split != "none":
        columns["split"] = config.split
    file = read_text_file(config.data, columns)
    rows, skipped = _usable(file)
    names = _class_names(rows["label"], file, config.merge_labels)
    classes = tuple(sorted(set(names)))
    labels = names.map({name: number for number, name in enumerate(classes)}).to_numpy(np.int64)
    # The number of a text among the different ones, in the order in which these first occur.
    content, _ = pd.factorize(rows["text"].map(lambda text: " ".join(text.split()).casefold()))
    first = ~pd.Series(content).duplicated().to_numpy()
    if config.split == "none":
        _check_counts(labels[first], classes, file)
        part = split_rows(labels[first], config.split_seed)[content]
    else:
        part = _named_parts(rows, labels, classes, file)
    parts = {name: np.flatnonzero(part == number) for number, name in enumerate(PARTS)}
    if config.train_size:
        parts["train"] = _cut(parts["train"], labels, config.train_size, config.split_seed, len(classes))
    texts = rows["text"].tolist()
    table = pd.DataFrame({"line": rows["line"], "text": texts, "label": names, "part": part, "content": content})
    return TextData(
        name=file.path.name,
        origin=str(file.path),
        texts=texts,
        labels=labels,
        classes=classes,
        parts=parts,
        sha256=text_digest(text for row in zip(texts, names, strict=True) for text in row),
        split_sha256=split_digest(*(parts[name] for name in PARTS)),
        report={"file": file.path.name, "columns": dict(file.columns), **describe_texts(table, PARTS, skipped)},
    )


def split_rows(labels: np.ndarray, seed: int) -> np.ndarray:
    """The part of each row, 0, 1 or 2 for train, val and test: 70/10/20 of every class, at least one of each."""
    pool, test = take_of_each(np.arange(len(labels)), labels, round(TEST_SHARE * len(labels)), seed)
    _, val = take_of_each(pool, labels, round(VALIDATION_SHARE * len(labels)), seed)
    part = np.zeros(len(labels), np.int64)
    part[val], part[test] = 1, 2
    return part


def _usable(file: TextFile) -> tuple[Any, dict[str, list[int]]]:
    """The rows that can be used, and the lines of the others by what is wrong with them."""
    rows: Any = file.rows
    faults = {
        "no text": rows["text"].str.strip() == "",
        "no label": rows["label"].str.strip().str.casefold().isin(NO_LABEL),
        "a text that no model can read": rows["text"].map(lambda text: text_fault(text) is not None),
        f"a label that cannot be printed or has more than {MAX_LABEL} characters": rows["label"].map(_is_odd),
    }
    skipped = {"no JSON object": list(file.broken)} if file.broken else {}
    kept: Any = pd.Series(True, index=rows.index)
    for fault, found in faults.items():
        if (found & kept).any():
            skipped[fault] = rows["line"][found & kept].tolist()
        kept &= ~found
    if not kept.any():
        raise ConfigError(f"data: {file.path.name} has no row with both a text and a label; {left_out(skipped)}")
    return rows[kept].reset_index(drop=True), skipped


def _is_odd(label: str) -> bool:
    """Whether a label would not fit on a page, a figure or a line of the terminal."""
    plain = " ".join(label.split())
    return text_fault(label) is not None or not plain.isprintable() or len(plain) > MAX_LABEL


def _class_names(labels: Any, file: TextFile, merge: bool) -> Any:
    """The class of each row. Raises ConfigError for labels that differ only by case or blanks, unless they are merged,
    and for fewer than two classes."""
    plain = labels.str.split().str.join(" ")
    key = plain.str.normalize("NFKC").str.casefold()
    spellings = labels.groupby(key).nunique()
    if (spellings > 1).any() and not merge:
        same = spellings.index[spellings > 1]
        counts = labels[key == same[0]].value_counts()
        named = ", ".join(f"{str(label)[:40]!r} ({count:,})" for label, count in counts.head(NAMED).items())
        more = f", and {len(same) - 1:,} more such labels" if len(same) > 1 else ""
        raise ConfigError(
            f"label: {file.path.name} has {named}, which differ only by case or blanks{more}; valid: one spelling of "
            "each label, or merge_labels=true to take them for one"
        )
    # Of several spellings the most frequent one.
    names = key.map(plain.groupby(key).agg(lambda spelled: spelled.mode()[0]))
    classes = names.unique()
    if len(classes) < 2:
        raise ConfigError(f"label: {file.path.name} has one class only, {short(classes[0])}; valid: at least two")
    if len(classes) > MAX_CLASSES:
        raise ConfigError(
            f"label: {file.path.name} has {len(classes):,} different labels in {file.columns['label']!r}; valid: at "
            f"most {MAX_CLASSES:,} classes"
        )
    return names


def _check_counts(labels: np.ndarray, classes: Sequence[str], file: TextFile) -> None:
    """Raise ConfigError for classes that cannot be in every part; `labels` are those of the different texts."""
    counts = np.bincount(labels, minlength=len(classes))
    if rare := [f"{short(classes[int(number)])} ({counts[number]})" for number in np.flatnonzero(counts < MIN_TEXTS)]:
        more = f" and {len(rare) - NAMED:,} more" if len(rare) > NAMED else ""
        raise ConfigError(
            f"label: {file.path.name} has too few different texts of {', '.join(rare[:NAMED])}{more}; valid: at least "
            f"{MIN_TEXTS} of each class, for training, validation and test; add some, or leave the class out"
        )


def _named_parts(rows: Any, labels: np.ndarray, classes: Sequence[str], file: TextFile) -> np.ndarray:
    """The part that a column says of each row. Raises ConfigError for other words and for parts that lack something."""
    named = rows["split"].str.strip().str.casefold().map(PART_NAMES)
    column = file.columns["split"]
    if named.isna().any():
        place = int(named.isna().to_numpy().argmax())
        raise ConfigError(
            f"split: line {rows['line'][place]} of {file.path.name} has {short(rows['split'][place])} in {column!r}; "
            f"valid: {', '.join(PARTS)}"
        )
    part = named.map({name: number for number, name in enumerate(PARTS)}).to_numpy(np.int64)
    if lacking := [name for number, name in enumerate(PARTS) if not (part == number).any()]:
        raise ConfigError(
            f"split: no row of {file.path.name} has {lacking[0]!r} in {column!r}; valid: some of each part"
        )
    if unknown := [name for number, name in enumerate(classes) if not ((labels == number) & (part == 0)).any()]:
        raise ConfigError(
            f"split: {file.path.name} has the class {short(unknown[0])} in validation or test, and not in training; "
            "valid: every class in training"
        )
    return part


def _cut(train: np.ndarray, labels: np.ndarray, size: int, seed: int, classes: int) -> np.ndarray:
    """The same fraction of each class of the training texts, at least one; those of a smaller size are among them."""
    check_size("train_size", size, classes, len(train))
    shuffled: Any = pd.Series(np.random.RandomState(seed).permutation(train))
    own = labels[shuffled]
    place = shuffled.groupby(own).cumcount()
    count = shuffled.groupby(own).transform("size")
    # The first of every class, then by how far each is among those of its class.
    order = np.lexsort((shuffled.to_numpy(), (place + 0.5) / count, place > 0))
    return np.sort(shuffled.to_numpy()[order[:size]])
