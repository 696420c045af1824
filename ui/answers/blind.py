"""Blind comparison: two models answer in a random order without their names, the better answer is voted for."""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import streamlit as st

from tasks.registry import RegisteredVersion
from tasks.runs import StoreUnreachableError
from tasks.runs.attachments import AnswerTooLargeError
from tasks.runs.votes import Preference, Vote, log_vote, read_votes
from ui.answers.answering import record_finished
from ui.answers.asking import Asking
from ui.plain import escaped, inert_cell, visible

NOTE = "blind-note"
LABELS: dict[Preference, str] = {"left": "Left", "right": "Right", "tie": "Tie", "both bad": "Both are bad"}
DECIDED = ("left", "right")


def wants_blind(models: Sequence[RegisteredVersion], task: str) -> bool:
    """The switch for a blind comparison."""
    return st.toggle(
        "Blind A/B",
        key=f"tasks-blind-{task}",
        disabled=len(models) < 2,
        help="Two models answer in a random order, without their names, and you vote for the better answer."
        if len(models) > 1
        else "No other version is registered for this task.",
        persist_state="session",
    )


def choose_blind(models: Sequence[RegisteredVersion], task: str) -> list[RegisteredVersion]:
    """Draw the choice of the models that may answer, and give two of them in a random order; [] for too few."""
    by_key = {one.key: one for one in models}
    chosen = st.multiselect(
        "Models to draw two from",
        list(by_key),
        default=list(by_key)[:2],
        format_func=lambda key: visible(f"{by_key[key].model} ({key})"),
        key=f"tasks-blind-models-{task}",
        persist_state="session",
    )
    if len(chosen) < 2:
        st.caption("Choose at least two.")
        return []
    return [by_key[key] for key in random.sample(chosen, 2)]


def draw_vote(askings: Sequence[Asking]) -> None:
    """Below two answers without names: which is better? After the vote, or when one failed, the names are shown."""
    draw_note()
    if len(askings) != 2 or not all(one.hidden and one.over for one in askings):
        return
    if any(one.result is None for one in askings):
        _reveal(askings)
        st.rerun()
    st.subheader("Which answer is better?")
    left, right = askings
    draw_choices(left.id, lambda choice: _vote(left, right, choice))


def draw_note() -> None:
    """What came of the last vote, once."""
    if said := st.session_state.pop(NOTE, None):
        (st.success if said[0] else st.error)(escaped(said[1]))


def draw_choices(key: str, vote: Callable[[Preference], None]) -> None:
    """The buttons that vote, and what becomes of a vote."""
    with st.container(horizontal=True):
        for choice, label in LABELS.items():
            st.button(label, key=f"vote-{choice}-{key}", on_click=vote, args=(choice,))
    st.caption(
        "Then you see which model wrote which. The vote is kept in MLflow with the question and both answers: everyone "
        "who uses this MLflow can read it."
    )


def _reveal(askings: Sequence[Asking]) -> None:
    for one in askings:
        one.hidden = False
    record_finished(askings)


def _vote(left: Asking, right: Asking, choice: Preference) -> None:
    if not left.hidden:  # the second click of a double-click
        return
    vote = Vote(left.task, left.reference, right.reference, choice)
    answers = {"left": dict(left.result or {}), "right": dict(right.result or {})}
    if keep_vote(vote, (left.model, right.model), left.row, left.parameters, answers, left.at):
        _reveal((left, right))


def keep_vote(
    vote: Vote,
    models: tuple[str, str],
    row: Mapping[str, Any],
    parameters: Mapping[str, Any],
    answers: Mapping[str, Any],
    at: datetime,
) -> bool:
    """Log a vote between two models; whether MLflow has it is also told by `draw_note`."""
    try:
        log_vote(vote, row, parameters, answers, at)
    except (StoreUnreachableError, AnswerTooLargeError) as error:
        st.session_state[NOTE] = (False, f"Your vote was not kept, please try again: {error}")
        return False
    left, right = models
    if left == right:  # two versions of one model
        left, right = f"{left} ({vote.left})", f"{right} ({vote.right})"
    better = {"left": f"{left} is better", "right": f"{right} is better"}.get(vote.choice, vote.choice)
    st.session_state[NOTE] = (True, f"Your vote is kept: {better}.")
    _votes.clear()
    return True


def draw_leaderboard(task: str, models: Iterable[RegisteredVersion]) -> None:
    """The models of a task by how often their answers were preferred. Raises StoreUnreachableError."""
    votes = _votes(task)
    if not votes:
        st.info("Nobody has voted on this task yet: switch on “Blind A/B” under Ask.", icon=":material/how_to_vote:")
        return
    share, number = st.column_config.NumberColumn(format="%.0f %%"), st.column_config.NumberColumn()
    st.dataframe(
        standings(votes, {one.key: one.model for one in models}),
        hide_index=True,
        key=f"leaderboard-{task}",
        column_config={
            "Model": st.column_config.TextColumn(pinned=True),
            **dict.fromkeys(("Win rate", "Low", "High"), share),
            **dict.fromkeys(("Won", "Lost", "Ties", "Both bad"), number),
        },
    )
    count = "1 blind vote" if len(votes) == 1 else f"{len(votes):,} blind votes"
    st.caption(
        f"{count}. Win rate: of the votes that were decided. Low and high: its 95 % interval (Wilson); models whose "
        "intervals overlap cannot be told apart. A model that faced weaker opponents ranks higher."
    )


def standings(votes: Iterable[Vote], names: dict[str, str]) -> list[dict[str, Any]]:
    """A row a version, the highest win rate first, in percent with the 95 % interval of Wilson.

    Args: names: what versions are called; those that are not registered any more have their reference.
    """
    from scipy.stats import binomtest

    tally: dict[str, Counter[str]] = defaultdict(Counter)
    for vote in votes:
        for side, reference in (("left", vote.left), ("right", vote.right)):
            outcome = vote.choice if vote.choice not in DECIDED else "won" if vote.choice == side else "lost"
            tally[reference][outcome] += 1
    rows = []
    for reference, counts in tally.items():
        decided = counts["won"] + counts["lost"]
        low, high = binomtest(counts["won"], decided).proportion_ci(method="wilson") if decided else (None, None)
        rows.append(
            {
                "Model": inert_cell(f"{names.get(reference, 'unregistered')} ({reference})"),
                "Win rate": 100 * counts["won"] / decided if decided else None,
                "Low": None if low is None else 100 * low,
                "High": None if high is None else 100 * high,
                "Won": counts["won"],
                "Lost": counts["lost"],
                "Ties": counts["tie"],
                "Both bad": counts["both bad"],
            }
        )
    return sorted(rows, key=lambda row: -1 if row["Win rate"] is None else row["Win rate"], reverse=True)


@st.cache_data(ttl="10s", show_spinner="Counting votes")
def _votes(task: str) -> list[Vote]:
    return read_votes(task)
