"""The labeled rows that models are evaluated on: the project's sample, or a user's own CSV file, all of it checked."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.config import ConfigError
from experiments.data.files import named_file
from experiments.evaluation.tasks import TASK_METRICS, request, rows_sha256, sample_rows
from tasks import task_class
from tasks.base import TaskInputError
from tasks.csv_files import TableError, read_table
from tasks.images import MAX_BYTES, decode_image
from tasks.texts import text_fault

MAX_ROWS = 10_000
MAX_FILE_BYTES = 100 * 10**6
AUTO = "auto"


@dataclass(frozen=True)
class LabeledRows:
    """Rows of a task's columns (images of a file as its path), where they are from, and a digest of their content."""

    name: str
    rows: tuple[Mapping[str, Any], ...]
    sha256: str


def read_rows(task: str, datasets: str, chosen: Mapping[str, str] | None = None) -> LabeledRows:
    """The rows that `datasets` names for a task: `auto` for the sample, or a CSV file.

    Args: chosen: columns of the file that stand for the task's.

    Raises ConfigError, in one line, for a file that cannot be used, naming the line of a row that cannot be.
    """
    columns = ", ".join(TASK_METRICS[task].columns)
    if datasets.strip() == AUTO:
        rows = sample_rows(task)
        if not rows:
            raise ConfigError(
                f"datasets is 'auto', and there is no sample for {task}; valid: a CSV file with columns {columns}"
            )
        return LabeledRows("sample", tuple(rows), rows_sha256(rows))
    path = named_file("datasets", datasets, f"auto, or a CSV file with columns {columns}", MAX_FILE_BYTES)
    rows = []
    for line, cells in _lines(path, task, chosen or {}):
        try:
            rows.append(_row(task, cells, path.parent))
        except (TaskInputError, ValueError) as error:
            raise ConfigError(f"datasets: line {line} of {path.name}: {error}") from error
    return LabeledRows(path.name, tuple(rows), rows_sha256(rows))


def _lines(path: Path, task: str, chosen: Mapping[str, str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row of a CSV file with the number of the line on which it ends. Raises ConfigError for what is none."""
    task_metrics = TASK_METRICS[task]
    try:
        table = read_table(path.read_bytes(), task_metrics.columns, max_rows=MAX_ROWS, max_bytes=MAX_FILE_BYTES)
        more = [name.casefold() for name in table.header if task_metrics.further_label(name)]
        places = table.places(dict.fromkeys(task_metrics.columns, True) | dict.fromkeys(more, False), chosen)
    except TableError as error:
        raise ConfigError(f"datasets: {path.name}: {error}") from error
    except OSError as error:
        raise ConfigError(f"datasets: {path.name} cannot be read: {error.strerror}") from error
    for line, cells in table.rows:
        yield line, {column: cells[place] for column, place in places.items()}


def assignments(field: str, text: str, default: str, names: Collection[str], value: str) -> dict[str, str]:
    """Values by name from `name=value,name=value`; none for the default. Raises ConfigError for any other name."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))) if text.strip() != default else ():
        name, _, given = (word.strip() for word in part.partition("="))
        if name not in names or not given:
            more = f", or name={value} with {', '.join(names)}" if names else ""
            raise ConfigError(f"{field} has {part[:60]!r}; valid: {default}{more}")
        found[name] = given
    return found


def _row(task: str, cells: Mapping[str, str], folder: Path) -> dict[str, Any]:
    """A row that a model of the task can be asked. Raises TaskInputError or ValueError, naming the column."""
    task_metrics = TASK_METRICS[task]
    for column in task_metrics.columns:
        if column == "image":  # decoded below
            continue
        if fault := text_fault(cells[column]):
            raise ValueError(f"{column} {fault}; valid: text")
        if not cells[column].strip() and column not in task_metrics.may_be_empty:
            raise ValueError(f"{column} is empty; valid: text")
    row: dict[str, Any] = dict(cells)
    if task == "image-classification":
        row["image"] = _image(cells["image"], folder)
        decode_image(request(task, row)["image"], 3)
        return row
    # Not loaded: what a model itself does not take is reported when it is asked.
    task_class(task)(folder, "none").check_rows([request(task, row)])
    return row


def _image(cell: str, folder: Path) -> Path | str:
    """The file that a cell names, which is within the CSV file's folder, or its base64, which has no dot."""
    if "." not in cell:
        return cell
    name = cell.strip()
    if "\0" in name:
        raise ValueError("image has a NUL in its path; valid: the path of a PNG or JPEG")
    try:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise ValueError(f"image is {name[:60]!r}, which is outside the folder of the CSV file; valid: within it")
        if not path.is_file():
            raise ValueError(f"image is {name[:60]!r}, and there is no such file beside the CSV file")
        size = path.stat().st_size
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        raise ValueError(f"image is {name[:60]!r}, which cannot be read") from error
    if size > MAX_BYTES:
        most = MAX_BYTES // 2**20
        raise ValueError(f"image is {name[:60]!r}, which has {size / 2**20:.0f} MB; valid: at most {most} MB")
    return path
