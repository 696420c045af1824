"""What the numbers of a comparison say, in sentences. Nothing is ranked inside an interval."""

from collections.abc import Sequence

import numpy as np

from experiments.comparison.results import CellResult, ClassifierResult, Paired, Row, confusion, leading

SIGNIFICANT = 0.05
# Over-fitting is worth a sentence from here on: validation loss over its lowest, training over validation accuracy.
LOSS_RISE, ACCURACY_GAP = 1.2, 0.03


def analyse(
    rows: Sequence[Row], paired: Sequence[Paired], cells: Sequence[ClassifierResult], classes: Sequence[str]
) -> list[str]:
    """Paragraphs about one data set; `rows` is its leaderboard."""
    return [
        paragraph
        for paragraph in (
            ranking(rows, "accuracy"),
            pairs(paired, "images"),
            _cost(rows).strip(),
            _over_fitting(cells),
            _classes(cells, classes),
            basis(rows, "accuracy", len(cells[0].right), "images"),
        )
        if paragraph
    ]


def ranking(rows: Sequence[Row], metric: str) -> str:
    """Who leads in an accuracy, who cannot be told apart from the leader, and who is behind."""
    best, tied, behind = leading(rows, metric)
    value = best.values[metric]
    shown = f"{value.mean:.2%} [{value.low:.2%}, {value.high:.2%}]"
    text = f"{best.model} has the highest mean test {metric.replace('_', ' ')}, {shown}."
    if len(rows) == 1:
        return text
    if not tied:
        return f"{text} Its interval lies above all others."
    if not behind:
        return f"{text} No model is ahead: the other intervals overlap its own, so that these results are not " \
               f"distinguishable ({names(tied, metric)})."  # fmt: skip
    return (
        f"{text} Not distinguishable from it, because the intervals overlap: {names(tied, metric)}. "
        f"Behind it, with an interval below its own: {names(behind, metric)}."
    )


def pairs(paired: Sequence[Paired], items: str) -> str:
    """What McNemar's tests found, for test items of this name."""
    if not paired:
        return ""
    different = [test for test in paired if test.adjusted_p < SIGNIFICANT]
    head = (
        f"McNemar's paired test on the same test {items} ({_count(len(paired), 'pair')} of single trainings, "
        "Holm-adjusted)"
    )
    if not different:
        return f"{head} finds no difference at {SIGNIFICANT:.0%}."
    wins: dict[str, list[str]] = {}
    for test in different:
        winner, loser = (test.a, test.b) if test.only_a > test.only_b else (test.b, test.a)
        wins.setdefault(winner, []).append(loser)
    found = "; ".join(f"{winner} right more often than {listed(losers)}" for winner, losers in wins.items())
    return f"{head} finds a difference at {SIGNIFICANT:.0%} in {_count(len(different), 'pair')}: {found}."


def _cost(rows: Sequence[Row]) -> str:
    if len(rows) == 1:
        return ""
    best, tied, _ = leading(rows)
    if not tied:
        return f"{best.model} stands alone; its cost: {_cost_of(best)}. {_ratios(rows)}"
    group = [best, *tied]
    small, light = (min(group, key=cost) for cost in (_parameters, _flops))
    who = "" if light is small else f"{light.model} "
    return (
        f"Of the models not distinguishable from the best, {small.model} has the fewest parameters "
        f"({small.parameters:,}) and {who}needs the fewest FLOPs an image ({_flops(light) / 1e6:,.1f} million). "
        f"{_fastest(group)} {_ratios(rows)}"
    )


def _cost_of(row: Row) -> str:
    seconds = row.values["seconds"].mean
    return (
        f"{row.parameters:,} parameters, {_flops(row) / 1e6:,.1f} million FLOPs an image, {seconds:,.1f} s of training"
    )


def _fastest(group: Sequence[Row]) -> str:
    first, tied, _ = leading(group, "seconds")
    if not tied:
        return f"{first.model} trained fastest of them ({first.values['seconds'].mean:,.1f} s)."
    times = listed([f"{row.model} {row.values['seconds'].mean:,.1f} s" for row in (first, *tied)])
    if not first.values["seconds"].known:
        return f"Their training times, measured once: {times}."
    return f"Training times that are not distinguishable from the shortest: {times}."


def _parameters(row: Row) -> float:
    return row.parameters


def _flops(row: Row) -> float:
    assert row.flops is not None  # counted for every convolutional network
    return row.flops


def _ratios(rows: Sequence[Row]) -> str:
    """Accuracy by cost, where one model's lowest ratio is above all others' highest."""

    def seconds(row: Row) -> float:
        return row.values["seconds"].mean

    found = []
    for cost, name in ((_parameters, "parameter"), (_flops, "FLOP"), (seconds, "training second")):
        best = max(rows, key=lambda row: row.values["accuracy"].mean / cost(row))
        others = [row.values["accuracy"].high / cost(row) for row in rows if row is not best]
        if best.values["accuracy"].low / cost(best) > max(others):
            found.append(f"{best.model} by {name}")
    if not found:
        return ""
    return f"Accuracy divided by cost is highest for {listed(found)}; such ratios favour whatever is small."


def _over_fitting(cells: Sequence[CellResult]) -> str:
    found = []
    for model in dict.fromkeys(cell.model for cell in cells):
        mine = [cell for cell in cells if cell.model == model]
        loss = np.mean([cell.history["val_loss"] for cell in mine], axis=0)
        gap = float(np.mean([_last(cell, "train_accuracy") - _last(cell, "val_accuracy") for cell in mine]))
        signs = []
        if loss[-1] > LOSS_RISE * loss.min():
            signs.append(f"validation loss rises from {loss.min():.3f} in epoch {loss.argmin() + 1} to {loss[-1]:.3f}")
        if gap > ACCURACY_GAP:
            signs.append(f"at the end training accuracy is {100 * gap:.1f} points above validation")
        if signs:
            found.append(f"{model} ({' and '.join(signs)})")
    if not found:
        return "No model shows notable over-fitting: validation loss stays near its lowest, and training accuracy " \
               "near validation."  # fmt: skip
    return f"Signs of over-fitting: {', '.join(found)}."


def _last(cell: CellResult, metric: str) -> float:
    return float(cell.history[metric][-1])


def _classes(cells: Sequence[ClassifierResult], classes: Sequence[str]) -> str:
    matrix = confusion(cells)
    errors = matrix.sum() - np.trace(matrix)
    if errors == 0:
        return "No test image was classified wrongly."
    recall = np.diag(matrix) / np.maximum(matrix.sum(axis=1), 1)
    hardest = [int(k) for k in recall.argsort(kind="stable")[:2] if recall[k] < 1]
    wrong = matrix - np.diag(np.diag(matrix))
    true, said = (int(k) for k in np.unravel_index(wrong.argmax(), wrong.shape))
    listing = " and ".join(f"{classes[k]} (recall {recall[k]:.1%})" for k in hardest)
    return (
        f"Over all models and seeds the lowest measured recall is that of {listing}; the most frequent mistake is "
        f"{classes[true]} taken for {classes[said]} ({wrong[true, said]} of {errors} mistakes)."
    )


def basis(rows: Sequence[Row], metric: str, test_size: int, items: str) -> str:
    """What the intervals mean, and what they do not."""
    methods = {row.values[metric].method for row in rows}
    parts = []
    if "t over seeds" in methods:
        parts.append("Intervals are 95 % t-intervals of the mean over seeds; with few seeds they are wide.")
    if "Wilson" in methods:
        reason = (
            "one seed" if max(len(row.seeds) for row in rows) == 1 else "one seed, or equal accuracy with all seeds"
        )
        parts.append(
            f"Where there is {reason}, {metric.replace('_', ' ')} has a 95 % Wilson interval over the {test_size:,} "
            f"test {items}: it says nothing of what another seed would give, and the other metrics have none."
        )
    return " ".join(parts)


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' if number != 1 else ''}"


def names(rows: Sequence[Row], metric: str = "accuracy") -> str:
    """Models with their mean accuracy."""
    return ", ".join(f"{row.model} ({row.values[metric].mean:.2%})" for row in rows)


def listed(items: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join(filter(None, (", ".join(items[:-1]), items[-1])))
