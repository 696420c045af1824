"""The parts of the attention page: which models, the numbers, their answers with attention, accuracy by length."""

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from tasks import task_class
from tasks.registry import RegisteredVersion
from tasks.runtime.jobs import OVER, Job
from ui.plain import escaped, visible
from ui.results import charts, sequences
from ui.results.decoding_steps import ALTERNATIVES, draw_steps
from ui.results.sequences import Trained
from ui.results.training_runs import trainings_of
from ui.services import run_link
from ui.session import USER_FACING_ERRORS, services, show_errors

TASK = "sequence-reversal"
COMMAND = "mlflow run . -e seq2seq --env-manager local"
MODELS_AT_FIRST = 3
# So long the page waits before it shows that it waits: a loaded model is faster.
SOON, AGAIN = 0.3, 0.4  # seconds
NUMBERS, ASKED, GO = "attention-numbers", "attention-asked", "attention-go"


@dataclass(frozen=True)
class Asked:
    """A visitor's question: the numbers, and a job for each model by its key."""

    source: tuple[int, ...]
    jobs: Mapping[str, Job]

    @property
    def over(self) -> bool:
        return all(job.state in OVER for job in self.jobs.values())

    def stop(self) -> None:
        """Cancel what is not over."""
        for job in self.jobs.values():
            job.cancel("stopped")


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
    """Draw what a person fills in, and ask all chosen models when it is sent."""
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
            _stop()
            jobs: dict[str, Job] = {}
            st.session_state[ASKED] = Asked(tuple(source), jobs)
            for one in chosen:
                settings = {"beam_width": width, "alternatives": ALTERNATIVES}
                jobs[one.key] = services().submit(one.key, {"sequence": source}, settings)


def _fill(known: Mapping[str, Trained], longer: bool) -> None:
    st.session_state[NUMBERS] = " ".join(map(str, sequences.example(known.values(), longer=longer)))
    st.session_state[GO] = True


def _stop() -> None:
    asked: Asked | None = st.session_state.get(ASKED)
    if asked is not None:
        asked.stop()


def draw_answers(registered: Sequence[RegisteredVersion], known: Mapping[str, Trained]) -> None:
    """Draw the answers that are there, and look again until all are."""
    asked: Asked | None = st.session_state.get(ASKED)
    if asked is None:
        return
    _wait(asked.jobs.values())
    st.header("Answers")
    st.caption("The numbers as typed")
    st.html(sequences.chips(asked.source))
    waiting = not asked.over
    st.fragment(_draw_answers, run_every=AGAIN if waiting else None)(asked, registered, known, waiting)


def _wait(jobs: Iterable[Job]) -> None:
    """Give jobs a moment, so that quick answers are drawn at once; what became of them is looked at later."""
    until = time.monotonic() + SOON
    for job in jobs:
        with contextlib.suppress(Exception):  # raised again, and said, where the answer is drawn
            job.result(max(0.0, until - time.monotonic()))


def _draw_answers(
    asked: Asked, registered: Sequence[RegisteredVersion], known: Mapping[str, Trained], waiting: bool
) -> None:
    if waiting and asked.over:
        st.rerun()  # the whole page: nothing is to be looked at again
    if waiting:
        st.button("Stop", icon=":material/stop_circle:", on_click=asked.stop, key="attention-stop")
    names = sequences.labels(registered)
    for key, job in asked.jobs.items():
        with st.container(border=True):
            st.markdown(f"**{escaped(names.get(key, key))}**")
            with show_errors(key):
                _draw_answer(asked.source, key, job, known.get(key))


def _draw_answer(source: Sequence[int], key: str, job: Job, trained: Trained | None) -> None:
    if job.state not in OVER:
        place = job.position
        words = {"queued": f"waits, number {place} in the queue" if place else "waits", "loading": "is being loaded"}
        st.caption(f":material/hourglass_top: The model {words.get(job.state, 'is writing')}.")
        return
    from ui.results.attention_map import draw_attention

    try:
        result = job.result(0)
    except USER_FACING_ERRORS:
        raise
    except Exception as error:  # whatever it is, the worker has logged it, and the other models' answers are drawn
        st.error(
            f"The model failed ({type(error).__name__}). The terminal of the tool says more.", icon=":material/error:"
        )
        return
    said = [int(number) for number in result["reversed"]]
    right = said == list(source)[::-1]
    st.html(sequences.chips(said, sequences.wrong_places(source, said)))
    icon = ":material/check_circle:" if right else ":material/cancel:"
    st.markdown(f"{icon} {escaped(sequences.verdict(source, said))}")
    if result.get("beyond_training"):
        longest = f"up to {trained.max_length} numbers" if trained and trained.max_length else "shorter sequences"
        st.info(
            f"These are {len(source)} numbers, longer than anything in its training ({longest}).",
            icon=":material/straighten:",
        )
    draw_attention(result.get("attention"), list(source), said, f"attention-{key}")
    draw_steps(result.get("steps"), source, f"attention-{key}")
    st.caption(f"{1000 * float(result['seconds']):.0f} ms")


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
