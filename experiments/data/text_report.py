"""What is worth knowing of labeled texts before a training: counts, lengths, duplicates, warnings. Knows no torch."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from tasks.base import short
from tasks.texts import WORD

FEW_TEXTS, UNBALANCED = 10, 3.0
NAMED = 5  # lines or classes in a message
LISTED = 50  # lines in the report


def describe_texts(table: Any, parts: Sequence[str], skipped: Mapping[str, list[int]]) -> dict[str, Any]:
    """The report of a data set, ready for JSON; its `warnings` are a sentence each.

    Args:
        table: a row for each text: `line` of the file, `text`, `label`, number of its `part`, and `content`, a number
            that equal texts share.
        skipped: lines that were left out, by what is wrong with them.
    """
    several = table.groupby("content")[["label", "part"]].transform("nunique") > 1
    found = {
        "equal_texts": table["line"][table["content"].duplicated()],
        "equal_texts_with_other_labels": table["line"][several["label"]],
        "equal_texts_in_several_parts": table["line"][several["part"]],
    }
    counts = pd.crosstab(table["label"], table["part"]).reindex(columns=range(len(parts)), fill_value=0)
    lengths = {"characters": table["text"].str.len(), "words": table["text"].str.count(WORD)}
    return {
        "rows": len(table),
        "classes": {
            name: dict(zip(parts, map(int, row), strict=True))
            for name, row in zip(counts.index, counts.to_numpy(), strict=True)
        },
        "lengths": {
            name: {"median": float(values.median()), "p95": float(values.quantile(0.95)), "max": int(values.max())}
            for name, values in lengths.items()
        },
        **{name: _listed(lines.tolist()) for name, lines in found.items()},
        "skipped": {fault: _listed(lines) for fault, lines in skipped.items()},
        "warnings": list(
            _warnings(counts.sum(axis=1), {name: lines.tolist() for name, lines in found.items()}, skipped)
        ),
    }


def _warnings(counts: Any, found: Mapping[str, list[int]], skipped: Mapping[str, list[int]]) -> Iterator[str]:
    """A sentence for each thing that the user should know of their data; `counts` are those of the classes."""
    if skipped:
        yield left_out(skipped)
    few = [f"{short(name)} ({count})" for name, count in counts[counts < FEW_TEXTS].items()]
    if few:
        more = f" and {len(few) - NAMED:,} more" if len(few) > NAMED else ""
        yield f"fewer than {FEW_TEXTS} texts: {', '.join(few[:NAMED])}{more}; their results are chance"
    if counts.max() > UNBALANCED * counts.min():
        most, least = counts.idxmax(), counts.idxmin()
        yield f"unbalanced: {counts[most]:,} texts are {short(most)}, {counts[least]:,} are {short(least)}"
    if lines := found["equal_texts_in_several_parts"]:
        yield f"rows whose text is in several parts, which flatters the result: {len(lines):,} ({_named(lines)})"
    elif lines := found["equal_texts"]:
        yield f"rows that repeat a text: {len(lines):,} ({_named(lines)}); equal texts are in one part"
    if lines := found["equal_texts_with_other_labels"]:
        yield f"rows whose text has another label elsewhere: {len(lines):,} ({_named(lines)})"


def left_out(skipped: Mapping[str, list[int]]) -> str:
    """The rows that are not used, as a sentence."""
    return "left out: " + ", ".join(
        f"{len(lines):,} with {fault} ({_named(lines)})" for fault, lines in skipped.items()
    )


def _listed(lines: list[int]) -> dict[str, Any]:
    return {"count": len(lines), "lines": lines[:LISTED]}


def _named(lines: list[int]) -> str:
    more = ", ..." if len(lines) > NAMED else ""
    return f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines[:NAMED]))}{more}"
