"""The parts of the attention page: which models, the numbers, their answers with attention, accuracy by length."""

import time
from collections.abc import Mapping, Sequence

import streamlit as st

from tasks import task_class
from tasks.registry import RegisteredVersion
from ui.answers.answering import draw_unanswered, stop
from ui.answers.asking import Asking
from ui.panels.sequence_reversal import draw_reversal
from ui.plain import escaped, visible
from ui.results import charts, sequences
from ui.results.decoding_steps import ALTERNATIVES
from ui.results.sequences import Trained
from ui.results.training_runs import trainings_of
from ui.services import run_link
from ui.session import services, show_errors

TASK = "sequence-reversal"
COMMAND = "mlflow run . -e seq2seq --env-manager local"
MODELS_AT_FIRST = 3
# So long the page waits before it shows that it waits: a loaded model is faster.
SOON, AGAIN = 0.3, 0.4  # seconds
NUMBERS, ASKED, GO = "attention-numbers", "attention-asked", "attention-go"


def nothing_yet() -> None:
    """What to do where no network is registered."""
    st.info("No network that reverses numbers is registered yet.", icon=":material/info:")
    st.write("This trains one with attention and registers it, in minutes:")
    st.code(COMMAND, language=None)
    st.page_link("views/runs.py", label="Start and watch a run here", icon=":material/play_circle:")


def choose(registered: Sequence[RegisteredVersion]) -> list[RegisteredVersion]:
    """Draw the choice of models, and give the chosen ones; champions come first."""
    by_key = {one.key: one for one in registered}
    names = {
        key: f"{label}{' (champion)' if by_key[key].champion else ''}"
        for key, label in sequences.labels(registered).items()
    }
    picked = st.multiselect(
        "Models",
        list(by_key),
        default=list(by_key)[:MODELS_AT_FIRST],
        key="attention-models",
        format_func=lambda key: visible(names.get(key) or str(key)),
        placeholder="Choose models",
    )
    return [by_key[key] for key in by_key if key in picked]


def trained_models(chosen: Sequence[RegisteredVersion]) -> dict[str, Trained]:
    """What the chosen models were trained on, by key, as the runs that registered them say."""
    runs = trainings_of(tuple(sorted({one.run_id for one in chosen if one.run_id})))
    return {one.key: sequences.trained(runs.get(one.run_id)) for one in chosen}


def ask(chosen: Sequence[RegisteredVersion], known: Mapping[str, Trained]) -> None:
    """Draw the form, and ask all chosen models when it is sent."""
    st.session_state.setdefault(NUMBERS, " ".join(map(str, sequences.example(known.values()))))
    beam = task_class(TASK).parameters.specs()["beam_width"]
    with st.form("attention-form", border=True):
        text = st.text_input("Numbers", key=NUMBERS, max_chars=4000, autocomplete="off", help=sequences.VALID)
        complaint = st.empty()
        width = st.number_input(
            "Beam width",
            beam["minimum"],
            beam["maximum"],
            beam["default"],
            key="attention-beam",
            help=beam["description"],
        )
        sent = st.form_submit_button("Reverse", type="primary", icon=":material/swap_horiz:", disabled=not chosen)
    with st.container(horizontal=True):
        st.button("Random example", icon=":material/casino:", on_click=_fill, args=(known, False), disabled=not chosen)
        st.button(
            "Longer than trained", icon=":material/straighten:", on_click=_fill, args=(known, True), disabled=not chosen
        )
    if not chosen:
        st.caption("Choose at least one model.")
    elif st.session_state.pop(GO, False) or sent:
        with complaint.container(), show_errors("numbers"):
            source = sequences.numbers_in(text)
            stop(st.session_state.get(ASKED, ()))
            askings = st.session_state[ASKED] = []
            row, settings = {"sequence": source}, {"beam_width": width, "alternatives": ALTERNATIVES}
            for one in chosen:
                askings.append(Asking.of(services().submit(one.key, row, settings), one, row, settings))


def _fill(known: Mapping[str, Trained], longer: bool) -> None:
    st.session_state[NUMBERS] = " ".join(map(str, sequences.example(known.values(), longer=longer)))
    st.session_state[GO] = True


def draw_answers(registered: Sequence[RegisteredVersion], known: Mapping[str, Trained]) -> None:
    """Draw the answers that are there, and look again until all are."""
    askings: list[Asking] = st.session_state.get(ASKED, [])
    if not askings:
        return
    until = time.monotonic() + SOON
    for one in askings:
        one.await_end(until - time.monotonic())
        one.update()
    st.header("Answers")
    st.caption("The numbers as typed")
    st.html(sequences.chips(askings[0].row["sequence"]))
    waiting = any(not one.over for one in askings)
    st.fragment(_draw_answers, run_every=AGAIN if waiting else None)(askings, registered, known, waiting)


def _draw_answers(
    askings: Sequence[Asking], registered: Sequence[RegisteredVersion], known: Mapping[str, Trained], waiting: bool
) -> None:
    for one in askings:
        one.update()
    if waiting and all(one.over for one in askings):
        st.rerun()  # the whole page: nothing is to be looked at again
    if waiting:
        st.button("Stop", icon=":material/stop_circle:", on_click=stop, args=(askings,), key="attention-stop")
    names = sequences.labels(registered)
    for one in askings:
        with st.container(border=True):
            st.markdown(f"**{escaped(names.get(one.reference, one.reference))}**")
            if one.result is None:
                draw_unanswered(one)
                continue
            longest = known[one.reference].max_length if one.reference in known else None
            draw_reversal(one.row, one.result, f"attention-{one.reference}", longest)
            st.caption(f"{1000 * float(one.result['seconds']):.0f} ms")


def draw_lengths(chosen: Sequence[RegisteredVersion], known: Mapping[str, Trained]) -> None:
    """Accuracy by length, as the trainings that registered the models logged it."""
    st.header("Accuracy by length")
    names = sequences.labels(chosen)
    rows = sequences.length_rows({names[key]: one for key, one in known.items() if key in names})
    if not rows:
        st.caption("The runs that registered these models logged no accuracy by length.")
        return
    st.altair_chart(
        charts.accuracy_by_length(rows),
        width="stretch",
        key="attention-lengths",
        alt="Fraction of sequences reversed without a mistake, by length and model",
    )
    st.caption(
        "Fresh sequences of one length each, none of which was trained on. The dashed line is the longest length in "
        "training: to its right a network must do what it was never shown."
    )
    links = [
        f"[{escaped(names[one.key])}]({run_link(one.run_id, known[one.key].experiment_id or '0')})"
        for one in chosen
        if known[one.key].by_length
    ]
    st.caption(f"In MLflow: {' · '.join(links)}")
