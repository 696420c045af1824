"""What the numbers of a comparison of encoder-decoders say, in sentences. Nothing is ranked inside an interval."""

from collections.abc import Mapping, Sequence

import numpy as np

from experiments.comparison.analysis import basis, listed, pairs, ranking
from experiments.comparison.results import CellResult, Interval, Paired, Row

SOLVED = 0.99
BEYOND = (1.25, 1.5, 2.0, 3.0, 5.0)

Lengths = Mapping[str, Mapping[int, Interval]]


def analyse(
    rows: Sequence[Row], paired: Sequence[Paired], cells: Sequence[CellResult], lengths: Lengths, trained: int
) -> list[str]:
    """Paragraphs about a comparison; `rows` is its leaderboard, `trained` the longest length in training."""
    paragraphs = (
        ranking(rows, "sequence_accuracy"),
        _ablation(rows),
        _unsolved(rows, cells, lengths, trained),
        _alignment(rows),
        _generalisation(lengths, trained),
        pairs(paired, "sequences"),
        basis(rows, "sequence_accuracy", len(cells[0].right), "sequences"),
    )
    return [paragraph for paragraph in paragraphs if paragraph]


def _accuracy(row: Row) -> Interval:
    return row.values["sequence_accuracy"]


def _ablation(rows: Sequence[Row]) -> str:
    """With and without attention, for each recurrent cell of which both were trained."""
    sentences = []
    for cell in ("gru", "lstm"):
        without = next((row for row in rows if row.model == f"{cell}-none"), None)
        with_attention = [row for row in rows if row.model.startswith(f"{cell}-") and row is not without]
        if without is None or not with_attention:
            continue
        best, worst = (pick(with_attention, key=lambda row: _accuracy(row).mean) for pick in (max, min))
        span = f"{_accuracy(best).mean:.2%} ({best.model})"
        if worst is not best:
            span = f"between {_accuracy(worst).mean:.2%} ({worst.model}) and {span}"
        behind = [row for row in with_attention if not _accuracy(row).overlaps(_accuracy(without))]
        better = [row for row in behind if _accuracy(row).mean > _accuracy(without).mean]
        if len(better) == len(with_attention):
            verdict = "attention helps in every variant, with intervals that do not overlap"
        elif not behind:
            verdict = "the intervals overlap, so that no effect of attention is shown"
        else:
            verdict = f"with intervals that do not overlap, attention helps in {listed([row.model for row in better])}"
        sentences.append(
            f"Without attention the {cell.upper()} reverses {_accuracy(without).mean:.2%} of the test sequences, with "
            f"attention {span}: {verdict}."
        )
    return " ".join(sentences)


def _unsolved(rows: Sequence[Row], cells: Sequence[CellResult], lengths: Lengths, trained: int) -> str:
    """For every variant below 99 %: where along the length it fails, and whether its training was still going down."""
    sentences = []
    for row in rows:
        if _accuracy(row).mean >= SOLVED:
            continue
        known = {length: value.mean for length, value in lengths[row.model].items() if length <= trained}
        curve = ", ".join(f"{value:.1%} at length {length}" for length, value in known.items())
        tokens = row.values["token_accuracy"].mean
        histories = [cell.history["val_loss"] for cell in cells if cell.model == row.model]
        ratios = [loss[-1] / loss[-1 - max(1, len(loss) // 4)] for loss in histories if len(loss) > 1]
        ratio = float(np.mean(ratios)) if ratios else 1.0
        moved = f"fell by {1 - ratio:.0%}" if ratio <= 1 else f"rose by {ratio - 1:.0%}"
        state = f"over the last quarter of its epochs its validation loss {moved}"
        sentences.append(
            f"{row.model} stays at {_accuracy(row).mean:.2%} (tokens: {tokens:.2%}); by length: {curve}; {state}."
        )
    if not sentences:
        return f"Every variant reverses at least {SOLVED:.0%} of the test sequences."
    return "Below 99 %: " + " ".join(sentences)


def _alignment(rows: Sequence[Row]) -> str:
    scored = sorted(
        (row for row in rows if not np.isnan(row.values["alignment"].mean)),
        key=lambda row: -row.values["alignment"].mean,
    )
    if not scored:
        return ""
    shown = ", ".join(f"{row.model} {row.values['alignment'].mean:.3f}" for row in scored)
    return (
        f"Alignment score, the share of attention on the symbol to be written: {shown}. A low score need not mean a "
        "bad network: an encoder state also knows its neighbours, and several heads may look elsewhere."
    )


def _generalisation(lengths: Lengths, trained: int) -> str:
    sentences = []
    for factor in BEYOND:
        length = round(factor * trained)
        if not all(length in points for points in lengths.values()):
            continue
        order = sorted(lengths, key=lambda model: -lengths[model][length].mean)
        best = lengths[order[0]][length]
        if best.mean == 0:
            sentences.append(f"none reverses any at {factor:g} times (length {length})")
            break
        tied = [model for model in order[1:] if lengths[model][length].overlaps(best)]
        also = f" (not distinguishable: {listed(tied)})" if tied else ""
        sentences.append(f"{order[0]} {best.mean:.1%} at {factor:g} times (length {length}){also}")
    if not sentences:
        return ""
    return f"Beyond the {trained} symbols of training the highest accuracies are: {'; '.join(sentences)}."
