"""What own pictures are like, before and after a network learns from them: counts, sizes, and what is suspicious.

Torch is not loaded: the tool reads this, too.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from experiments.data.decoding import Show, WrittenPicture
from experiments.data.own_images import OwnImages, load_own
from experiments.data.splits import Split, split_own
from tasks.parameters import short

PARTS = ("train", "val", "test")
FEW, UNBALANCED = 10, 5.0  # pictures of a class; of the largest class for each of the smallest
MOST_LISTED = 1000
MOST_NAMED = 3
SAMPLE_COLUMNS, SAMPLE_ROWS = 8, 10


class Copy(NamedTuple):
    """One of several files with the same picture."""

    file: str
    label: str
    part: str


@dataclass(frozen=True)
class DataReport:
    """A data set at a glance.

    Attributes:
        counts: pictures by class and part.
        sizes: width and height of the files: the smallest, the median and the largest by area.
        duplicates: files of the same picture; among them are those under two labels and those in several parts.
        left_out: files that are not used, and why.
        warnings: what a user should know, a line each.
    """

    name: str
    origin: str
    image_size: int
    channels: int
    counts: dict[str, dict[str, int]]
    sizes: dict[str, tuple[int, int]]
    duplicates: list[list[Copy]]
    left_out: list[tuple[str, str]]
    warnings: list[str]

    def as_json(self) -> dict[str, Any]:
        """All of it, lists cut at 1,000 entries."""
        values = asdict(self)
        for name in ("duplicates", "left_out"):
            values[name] = values[name][:MOST_LISTED]
        values["duplicates"] = [[copy._asdict() for copy in group] for group in self.duplicates[:MOST_LISTED]]
        return values


def examine(
    dataset: str, data_dir: str, size: int, show: Show | None = None
) -> tuple[DataReport, list[tuple[str, np.ndarray]]]:
    """The report on a folder, zip or CSV, split as a training does by default, and some pictures with their labels.

    Raises DataError for what cannot be used.
    """
    own = load_own(dataset, data_dir, size, show)
    split = split_own(own.parts, own.labels, own.classes, None, 0, own.origin)
    chosen = sample(own.labels, columns=3, rows=SAMPLE_COLUMNS)
    return data_report(own, split), [(own.classes[own.labels[index]], own.images[index]) for index in chosen]


def sample(labels: np.ndarray, columns: int = SAMPLE_COLUMNS, rows: int = SAMPLE_ROWS) -> list[int]:
    """Places of the first `columns` pictures of the first `rows` classes, class by class."""
    return [int(index) for label in np.unique(labels)[:rows] for index in np.flatnonzero(labels == label)[:columns]]


def data_report(own: OwnImages, split: Split) -> DataReport:
    """The report on decoded pictures and the parts that they are split into; the unused of training count nowhere."""
    part_of = {int(index): part for part, rows in zip(PARTS, split, strict=True) for index in rows}
    counts: dict[str, dict[str, int]] = {label: dict.fromkeys(PARTS, 0) for label in own.classes}
    for index, part in part_of.items():
        counts[own.rows[index].item.label][part] += 1
    groups: defaultdict[str, list[Copy]] = defaultdict(list)
    for index, row in enumerate(own.rows):
        groups[row.pixels].append(Copy(row.item.path, row.item.label, part_of.get(index, "")))
    duplicates = [group for group in groups.values() if len(group) > 1]
    return DataReport(
        name=own.name,
        origin=own.origin,
        image_size=own.images.shape[1],
        channels=own.images.shape[3],
        counts=counts,
        sizes=_sizes(own.rows),
        duplicates=duplicates,
        left_out=list(own.left_out),
        warnings=[*_warnings(own, duplicates, counts)],
    )


def _sizes(rows: Sequence[WrittenPicture]) -> dict[str, tuple[int, int]]:
    ordered = sorted((row.measures for row in rows), key=lambda size: size[0] * size[1])
    return {"smallest": ordered[0], "median": ordered[len(ordered) // 2], "largest": ordered[-1]}


def _warnings(own: OwnImages, duplicates: list[list[Copy]], counts: dict[str, dict[str, int]]) -> Iterable[str]:
    if own.left_out:
        yield f"{_files(len(own.left_out))} left out: {_named(f'{short(path)} {why}' for path, why in own.left_out)}"
    if labeled_twice := [group for group in duplicates if _labeled_twice(group)]:
        yield f"the same picture under several labels, {_times(labeled_twice)}: {_named(map(_group, labeled_twice))}"
    if leaking := [group for group in duplicates if _leaks(group)]:
        yield (
            f"the same picture in several parts of the split, {_times(leaking)}, which makes results look too good: "
            f"{_named(map(_group, leaking))}"
        )
    if others := [group for group in duplicates if not _labeled_twice(group) and not _leaks(group)]:
        yield f"the same picture several times, {_times(others)}: {_named(map(_group, others))}"
    totals = Counter({label: sum(parts.values()) for label, parts in counts.items()})
    few = {label: total for label, total in totals.items() if total < FEW}
    if few:
        yield f"fewer than {FEW} pictures: {_named(f'{short(label)} has {total}' for label, total in few.items())}"
    (largest, most), (smallest, least) = totals.most_common()[0], totals.most_common()[-1]
    if most > UNBALANCED * max(least, 1):
        yield f"unbalanced: {short(largest)} has {most:,} pictures, {short(smallest)} has {least:,}"
    for part in PARTS[1:]:
        if absent := [short(label) for label in counts if not counts[label][part]]:
            yield f"no picture in {part}: {_named(absent)}"


def _labeled_twice(group: Sequence[Copy]) -> bool:
    return len({copy.label for copy in group}) > 1


def _leaks(group: Sequence[Copy]) -> bool:
    return len({copy.part for copy in group if copy.part}) > 1


def _files(count: int) -> str:
    return f"{count:,} file{'s' if count > 1 else ''}"


def _times(groups: Sequence[object]) -> str:
    return f"{len(groups):,} time{'s' if len(groups) > 1 else ''}"


def _group(group: Sequence[Copy]) -> str:
    first = group[0]
    other = next((copy for copy in group if copy[1:] != first[1:]), group[1])
    return " = ".join(f"{short(copy.file)} ({', '.join(filter(None, copy[1:]))})" for copy in (first, other))


def _named(texts: Iterable[str]) -> str:
    texts = list(texts)
    more = f" and {len(texts) - MOST_NAMED:,} more" if len(texts) > MOST_NAMED else ""
    return "; ".join(texts[:MOST_NAMED]) + more


def counts_table(report: DataReport) -> list[dict[str, Any]]:
    """A row for each class: its pictures in each part, and in total."""
    return [{"class": label, **parts, "total": sum(parts.values())} for label, parts in sorted(report.counts.items())]
