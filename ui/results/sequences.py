"""Sequences of numbers for the attention page: typed ones, random ones, how right an answer is. No Streamlit here."""

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.base import TaskInputError
from tasks.registry import RegisteredVersion
from tasks.runs.trainings import FinishedTraining
from ui.plain import escaped_html

VALID = "whole numbers with blanks or commas between them, such as 3 1 4 1 5"
MOST_NUMBERS = 1000
BY_LENGTH = re.compile(r"test_sequence_accuracy_len_(\d{1,6})")
# For networks whose training does not say what it was.
SYMBOLS, LENGTH = 10, 8
STRONGEST = 0.55  # of the tint: the number in it can still be read, on a white and on a black page
CHIP = (
    "display:inline-block;text-align:center;min-width:2.2rem;padding:.1rem .3rem;border-radius:.35rem;"
    "font-variant-numeric:tabular-nums;border:"
)
THIN, THICK = "1px solid rgba(127,127,127,.55)", "2px solid currentColor"
MISTAKE = "2px dashed currentColor;text-decoration:line-through"


@dataclass(frozen=True)
class Trained:
    """What a registered network was trained on; None, or nothing, for what its run does not say.

    Attributes:
        max_length: the longest sequence in training.
        symbols: how many different numbers there are, from 0.
        by_length: fraction of fresh sequences reversed without a mistake, by their length.
        experiment_id: where MLflow has the run.
    """

    max_length: int | None = None
    symbols: int | None = None
    by_length: Mapping[int, float] = field(default_factory=dict)
    experiment_id: str | None = None


def numbers_in(text: str) -> list[int]:
    """The numbers that the user typed. Raises TaskInputError, naming what is wrong and what is valid."""
    words = [word for word in re.split(r"[\s,;]+", text) if word]
    if not words:
        raise TaskInputError(f"numbers is empty; valid: {VALID}")
    if len(words) > MOST_NUMBERS:
        raise TaskInputError(f"numbers has {len(words)} numbers; valid: up to {MOST_NUMBERS}")
    for place, word in enumerate(words, start=1):
        if not re.fullmatch(r"[+-]?[0-9]{1,9}", word):
            raise TaskInputError(f"numbers has {word[:40]!r} at place {place}; valid: {VALID}")
    return [int(word) for word in words]


def trained(training: FinishedTraining | None) -> Trained:
    """What the run that registered a network says of its training."""
    if training is None:
        return Trained()
    lengths = {int(match[1]): value for name, value in training.metrics.items() if (match := BY_LENGTH.fullmatch(name))}
    return Trained(
        _whole(training.settings.get("max_length")),
        _whole(training.settings.get("vocab_size")),
        dict(sorted(lengths.items())),
        training.experiment_id,
    )


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def example(models: Iterable[Trained], *, longer: bool = False) -> list[int]:
    """Random numbers that all the models know; as long as all were trained for, or longer than any was."""
    models = list(models)
    symbols = min((one.symbols for one in models if one.symbols), default=SYMBOLS)
    lengths = [one.max_length for one in models if one.max_length] or [LENGTH]
    if longer:
        length = max(lengths) + max(2, max(lengths) // 4)
    else:
        length = random.randint(max(2, min(lengths) // 2), min(lengths))
    return [random.randrange(symbols) for _ in range(length)]


def wrong_places(source: Sequence[int], said: Sequence[int]) -> list[int]:
    """The places of an answer, from 1, that differ from the true reverse; also those that are missing."""
    truth = list(source)[::-1]
    longest = max(len(truth), len(said))
    return [place + 1 for place in range(longest) if list(truth[place : place + 1]) != list(said[place : place + 1])]


def verdict(source: Sequence[int], said: Sequence[int]) -> str:
    """How right an answer is."""
    wrong = wrong_places(source, said)
    if not wrong:
        return "Reversed without a mistake."
    places = ", ".join(map(str, wrong[:8])) + (", ..." if len(wrong) > 8 else "")
    length = f" It wrote {len(said)} numbers instead of {len(source)}." if len(said) != len(source) else ""
    right = len(source) - sum(place <= len(source) for place in wrong)
    return f"{right} of {len(source)} numbers right; wrong at place {places}.{length}"


def chips(
    tokens: Sequence[object],
    *,
    wrong: Iterable[int] = (),
    shares: Sequence[float] | None = None,
    framed: int | None = None,
) -> str:
    """Tokens as HTML, a box each.

    Args:
        wrong: places (from 1) whose boxes are dashed and struck through.
        shares: of attention: the tint of each box, and a number below its token.
        framed: the place of a box to point out, from 0.
    """
    places, boxes = set(wrong), []
    for place, token in enumerate(tokens):
        bad = place + 1 in places
        style, below = MISTAKE if bad else THICK if place == framed else THIN, ""
        if shares is not None:
            style += f";background:rgba(47,127,224,{STRONGEST * min(shares[place], 1.0):.3f})"
            below = f'<br><span style="font-size:.75rem">{shares[place]:.0%}</span>'
        title = ' title="wrong"' if bad else ""
        boxes.append(f'<span{title} style="{CHIP}{style}">{escaped_html(str(token))}{below}</span>')
    return f'<div style="display:flex;flex-wrap:wrap;gap:.3rem">{"".join(boxes)}</div>'


def length_rows(known: Mapping[str, Trained]) -> list[dict[str, Any]]:
    """Rows for the chart of accuracy by length, of models by their labels."""
    return [
        {"model": label, "length": length, "accuracy": accuracy, "trained": one.max_length}
        for label, one in known.items()
        for length, accuracy in one.by_length.items()
    ]


def labels(versions: Sequence[RegisteredVersion]) -> dict[str, str]:
    """A name for each version by its key: what people call the model, and only where several are called so, its key."""
    names = [one.model for one in versions]
    return {one.key: one.model if names.count(one.model) == 1 else f"{one.model}, {one.key}" for one in versions}
