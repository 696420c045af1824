"""Tables as CSV files, as Markdown, and as text for a terminal."""

import math
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from experiments.reports.statistics import Interval
from tasks.texts import inert


def to_csv(rows: Sequence[Mapping[str, object]], columns: Sequence[str] = ()) -> str:
    """Rows as CSV: floats with six significant digits, empty where unknown; texts that no spreadsheet runs.

    `columns` are needed where there may be no rows.
    """
    frame = pd.DataFrame(rows, columns=pd.Index(columns or list(rows[0])), dtype=object).map(_cell)
    return frame.rename(columns=inert).to_csv(index=False, lineterminator="\n")


def _cell(value: object) -> object:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else inert(value) if isinstance(value, str) else value


def bounds(name: str, value: Interval) -> dict[str, float]:
    """A value and its interval as columns."""
    return {name: value.mean, f"{name}_low": value.low, f"{name}_high": value.high}


def to_text(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows for a terminal, the first column on the left."""
    frame = pd.DataFrame(rows)
    return frame.set_index(frame.columns[0]).rename_axis(None).to_string()


def to_markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Rows under a head, as a table in Markdown."""
    cells = [[text.replace("|", "\\|").replace("\n", " ") for text in row] for row in (head, *rows)]
    cells.insert(1, ["---"] * len(head))
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)
