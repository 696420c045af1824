"""Answers on the task page: jobs started for a visitor, drawn while they come, handed to the history when over."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from tasks import task_class
from tasks.base import Row, TaskInputError
from tasks.registry import RegisteredVersion
from tasks.runs import StoreUnreachableError
from tasks.runtime.jobs import Job, QueueFullError
from ui.answers import history
from ui.answers.asking import Asking, in_seconds
from ui.answers.rating import draw_rating
from ui.panels import Panel
from ui.plain import escaped
from ui.session import USER_FACING_ERRORS, services

REDRAW_S = 0.1
IN_A_ROW = 3  # answers
Several = Callable[[Mapping[str, Any]], Sequence[Mapping[str, Any]]]
CLEAR_S = 0.05  # the browser clears before it draws what follows
# Where an answer grows, the page follows, until the visitor touches anything: below the fold it would go unseen.
FOLLOW = """<script>
(() => {
  const answers = document.querySelector("[class*=st-key-tasks-][class*=-answers]");
  const grown = new ResizeObserver(() => answers.scrollIntoView({block: "nearest"}));
  grown.observe(answers);
  for (const touch of ["wheel", "pointerdown", "keydown", "touchstart"])
    addEventListener(touch, () => grown.disconnect(), {once: true, passive: true});
})()
</script>"""
# Keys of the session's state.
ASKINGS, LEFT, REFUSED = "tasks-askings", "tasks-left", "tasks-refused"


def once(parameters: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A single answer with these settings."""
    return [parameters]


def form_key(task: str) -> str:
    """The key of a task's form; its parameters have `form_key(task)-set`."""
    return f"tasks-{task}"


def askings_of(task: str) -> list[Asking]:
    """What this visitor asked last in a task: one version, or two."""
    return st.session_state.setdefault(ASKINGS, {}).setdefault(task, [])


def start(
    versions: Sequence[RegisteredVersion],
    row: Row,
    parameters: Mapping[str, Any],
    several: Several = once,
    hidden: bool = False,
) -> None:
    """Ask these versions, instead of what was asked before. What is wrong with the input is kept for `refusal`.

    Args:
        several: the settings of each answer, from the parameters.
        hidden: whether the models' names are kept back until one is voted for.
    """
    askings = askings_of(versions[0].task)
    leave(askings)  # first: below what is refused, the last answer would be taken for one to it
    try:
        wanted = several(parameters)
        for settings in wanted:
            check(versions[0].task, row, settings)
        for version, settings in itertools.product(versions, wanted):
            job = services().submit(version.key, row, settings)
            _own_jobs().append(job)
            askings.append(Asking.of(job, version, row, settings, hidden))
    except (TaskInputError, QueueFullError) as error:
        st.session_state[REFUSED] = str(error)


def check(task: str, row: Row, parameters: Mapping[str, Any]) -> None:
    """Find at once what a model would find after a wait in the queue. Raises TaskInputError."""
    unloaded = task_class(task)(Path(), "")
    unloaded.check_rows([row])
    unloaded.check_parameters(parameters)


def refusal() -> str | None:
    """Why the last question was not put to any model; told once."""
    return st.session_state.pop(REFUSED, None)


def stop(askings: Sequence[Asking]) -> None:
    """Stop all that are not over."""
    for one in askings:
        one.stop()


def leave(askings: list[Asking]) -> None:
    """Take answers off the page: those that are being written are stopped.

    They end before their next token or step, and what there is of them reaches the history by `record_finished`.
    """
    stop(askings)
    for one in askings:
        one.hidden = False  # there will be no vote
    st.session_state.setdefault(LEFT, []).extend(askings)
    askings.clear()
    record_finished()


def record_finished(askings: Sequence[Asking] | None = None) -> None:
    """Hand answers that are over to the history, once each: these, or all of this visitor's.

    Hidden ones wait for their vote: the history names the models.
    """
    left: list[Asking] = st.session_state.setdefault(LEFT, [])
    if askings is None:
        askings = [*left, *(one for several in st.session_state.get(ASKINGS, {}).values() for one in several)]
    for one in askings:
        one.update()
        if one.over and not one.told and not one.hidden:
            one.told = True
            if one.result is not None or one.events:
                on_answer(one)
    left[:] = [one for one in left if not one.told]


def on_answer(asking: Asking) -> None:
    """An answer is over, whole or stopped: it goes into the history."""
    history.remember(asked(asking))


def asked(asking: Asking) -> history.Asked:
    """An answer as the history keeps it."""
    return history.Asked(
        id=asking.id,
        at=asking.at,
        task=asking.task,
        reference=asking.reference,
        model=asking.model,
        row=asking.row,
        parameters=asking.parameters,
        result=dict(asking.result) if asking.result is not None else {"partial": asking.text},
        seconds=asking.took,
        tokens=asking.tokens,
        stopped=asking.result is None,
    )


def draw_answers(panel: Panel, askings: Sequence[Asking], key: str, errors: DeltaGenerator) -> None:
    """Draw answers side by side until they are over: clicks interrupt it, and it starts again from there.

    Args:
        errors: where to say what is wrong with the input of a single model: by the form.
    """
    rows = range(0, len(askings), IN_A_ROW)
    across = min(len(askings), IN_A_ROW) or 1
    slots = [place.empty() for _ in rows for place in st.columns(across)] or [st.empty()]
    waiting = list(zip(askings, slots, range(len(askings)), strict=False))
    watched = any(not one.over for one in askings)
    several = len({one.reference for one in askings}) > 1
    if watched:
        st.html(FOLLOW, unsafe_allow_javascript=True)
    for asking, slot, _ in waiting:
        if not asking.over and not asking.events:
            slot.empty()  # what is there of the last answer would stay, paler, until the end of this one
            asking.await_end(CLEAR_S)
    while waiting:
        for asking, slot, number in waiting:
            record_finished([asking])
            with slot.container():
                _draw_answer(panel, asking, f"{key}-answer-{number}", None if several else errors)
        waiting = [one for one in waiting if not one[0].over]
        if waiting:
            waiting[0][0].update(REDRAW_S)
    if watched:
        st.rerun()  # for the buttons above, which were drawn before the end


def _draw_answer(panel: Panel, asking: Asking, key: str, errors: DeltaGenerator | None) -> None:
    """An answer, coming or over, in the words of its panel, with what it took."""
    if errors is None:
        name = {"0": "Left", "1": "Right"}.get(key[-1]) if asking.hidden else asking.model
        st.markdown(f"**{escaped(name or '')}**")
    if asking.result is not None:
        panel.draw_answer(asking.row, {**asking.result, "model": ""} if asking.hidden else asking.result, key)
    elif asking.events or not asking.over:
        panel.draw_coming(asking.row, asking.events, key)
    if asking.error is not None:
        (errors or st).error(escaped(describe_error(asking.error)), icon=":material/error:")
    if not asking.over:
        st.caption(f":material/pending: {escaped(progress(asking))}")
        return
    if asking.result is None and not asking.events:
        if asking.error is None:
            st.caption(":material/stop_circle: Stopped before there was anything to show.")
        return
    if asking.hidden:
        return
    st.caption(escaped(("stopped · " if asking.result is None else "") + asking.facts()))
    _draw_continue(panel, asking, key)
    _draw_rating(asking)


def draw_unanswered(asking: Asking) -> None:
    """What there is in place of an answer: how far it is, that it was stopped, or why it failed."""
    if asking.error is not None:
        st.error(escaped(describe_error(asking.error)), icon=":material/error:")
    elif asking.over:
        st.caption(":material/stop_circle: Stopped.")
    else:
        st.caption(f":material/pending: {escaped(progress(asking))}")


def _draw_continue(panel: Panel, asking: Asking, key: str) -> None:
    row = panel.continued(asking.row, asking.text)
    if row is not None and panel.ask is not None:
        st.button("Continue", key=f"{key}-continue", icon=":material/play_arrow:", on_click=panel.ask, args=(row,))


def _draw_rating(asking: Asking) -> None:
    kept = next((one for one in history.history() if one.id == asking.id), None)
    if kept is not None:
        draw_rating(kept)


def progress(asking: Asking) -> str:
    """What an answer that is coming is doing, and how far it is."""
    speed = asking.tokens_per_second
    parts = [
        asking.state(),
        f"{asking.tokens} tokens" if asking.tokens else "",
        f"{speed:.1f} tokens/s" if speed is not None else "",
        in_seconds(asking.seconds) if asking.seconds >= 1 else "",
    ]
    return " · ".join(part for part in parts if part)


def describe_error(error: Exception) -> str:
    """What ended an answer."""
    if isinstance(error, (*USER_FACING_ERRORS, StoreUnreachableError)):
        return str(error)
    return f"The model failed ({type(error).__name__}). The terminal of the tool says more."


def _own_jobs() -> list[Job]:
    """The jobs of this visitor; those left running when the browser is closed would keep others waiting."""
    jobs = _jobs_of_session()
    jobs[:] = [job for job in jobs if job.state in ("queued", "loading", "running")]
    return jobs


def _leave(jobs: list[Job]) -> None:
    for job in jobs:
        job.cancel("cancelled: the visitor left")


@st.cache_resource(scope="session", show_spinner=False, on_release=_leave)
def _jobs_of_session() -> list[Job]:
    return []
