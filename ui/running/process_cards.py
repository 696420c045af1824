"""Draws processes: what they are, how far, their curves, the end of their log, and buttons to stop or remove them."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import streamlit as st

from experiments.config import ConfigError
from tasks.registry import RegisteredVersion
from tasks.runs import StoreUnreachableError
from ui.hub.finding import ready_version
from ui.hub.token import environment
from ui.plain import escaped
from ui.results.all_runs import open_link
from ui.results.charts import by_epoch
from ui.running.live_run import LiveRun, duration, fetched, last_said, live_run, progress, reason, remaining
from ui.running.processes import (
    FAILED,
    FINISHED,
    RUNNING,
    STOPPED,
    WAITING,
    Process,
    ProcessError,
    forget,
    log_tail,
    processes,
    start,
    stop,
)
from ui.services import run_link
from ui.session import forget_versions, versions

REFRESH_S = 2
SHOWN = 10
RESUMABLE = ("cnn", "seq2seq", "finetune", "compare", "register")
BY_COMMAND = ("compare", "register")  # the same command again resumes them
LOOK = {
    WAITING: (":material/hourglass_empty:", "gray"),
    RUNNING: (":material/progress_activity:", "blue"),
    FINISHED: (":material/check_circle:", "green"),
    FAILED: (":material/error:", "red"),
    STOPPED: (":material/stop_circle:", "orange"),
}


def draw_processes(entries: Collection[str] = (), empty: str = "Nothing has been started from here yet.") -> None:
    """Draw all processes (of these entry points), drawn anew every two seconds while one is active.

    Args:
        empty: what to say if there are none.
    """
    key = f"active-{'-'.join(entries)}"
    active = _active(_chosen(entries))
    st.session_state[key] = active
    st.fragment(_draw_all, run_every=REFRESH_S if active else None)(entries, empty, key)


def launch(entry: str, values: Mapping[str, str], note: str) -> None:
    """Start a program from a button; what came of it is kept for `draw_note(note)`."""
    try:
        private = environment() if entry == "register" else {}
        process = start(entry, dict(values), *((private,) if private else ()))
        st.session_state[note] = (True, f"Started: {process.title}")
    except (ConfigError, ProcessError) as error:
        st.session_state[note] = (False, str(error))


def draw_note(note: str) -> None:
    """Say, once, what came of the last click."""
    said = st.session_state.pop(note, None)
    if said:
        (st.success if said[0] else st.error)(escaped(said[1]))


def _chosen(entries: Collection[str]) -> list[Process]:
    return [process for process in processes() if not entries or process.entry in entries]


def _active(found: Sequence[Process]) -> set[str]:
    return {process.id for process in found if process.active}


def _draw_all(entries: Collection[str], empty: str, key: str) -> None:
    found = _chosen(entries)
    if _active(found) != st.session_state[key]:
        # One began or ended: the page around has other things to say, and the clock may stop or must start.
        forget_versions()
        st.rerun()
    draw_note(f"{key}-note")
    if not found:
        st.info(empty, icon=":material/info:")
    # Those that work are always seen.
    ordered = sorted(found, key=lambda process: not process.active)
    everything = len(found) > SHOWN and st.toggle(f"Show all {len(found)}", key=f"{key}-all")
    for process in ordered if everything else ordered[: max(SHOWN, len(st.session_state[key]))]:
        _draw(process, f"{key}-note")


def _draw(process: Process, note: str) -> None:
    """One process: a line and its buttons; curves and log of those that have ended are folded away."""
    icon, color = LOOK[process.state]
    log = log_tail(process.id)
    with st.container(border=True, key=f"process-{process.id}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.badge("stopping" if process.stopping else process.state, icon=icon, color=color)  # type: ignore[arg-type]
            st.markdown(f"**{escaped(process.title)}**", width="content")
            st.caption(_when(process), width="content")
        if process.values:
            st.caption(escaped("   ".join(f"{name}={text}" for name, text in process.values.items())))
        _draw_progress(process, log)
        run = None
        if process.active:
            run = _draw_run(process)
        folded = st.expander("Log" if process.active else "Curves and log", key=f"open-{process.id}", on_change="rerun")
        with folded:
            if folded.open:
                run = run or (None if process.active else _draw_run(process))
                with st.container(height=300, border=False, autoscroll=True):  # the end of it is what counts
                    st.code(log or "nothing was printed yet", language=None, wrap_lines=True)
        _draw_buttons(process, run, note)


def _when(process: Process) -> str:
    if process.state == WAITING:
        return f"queued for {duration(process)}"
    return f"{'for' if process.state == RUNNING else 'after'} {duration(process)}"


def _draw_progress(process: Process, log: str) -> None:
    last = last_said(log)
    if process.state == FAILED:
        st.error(escaped(reason(process, log)), icon=":material/error:")
    elif process.active:
        draw_progress(process, log)
        if last and not fetched(log):
            st.caption(escaped(last))
    elif last and process.state == FINISHED:
        st.caption(escaped(last))


def draw_progress(process: Process, log: str) -> None:
    """How far a process is, and about how long it still takes."""
    known = progress(process, log)
    coming = fetched(log) if process.state == RUNNING else None
    if coming:
        st.progress(*coming)
    elif known:
        left = remaining(process, known[0])
        st.progress(known[0], f"{known[1]}, {left}" if left else known[1])
    elif process.state == RUNNING and not last_said(log):
        st.caption("Starting: loading the libraries takes some seconds.")


def _draw_run(process: Process) -> LiveRun | None:
    """The curves of a process's MLflow run, if there are any yet."""
    if process.state == WAITING:
        return None
    try:
        run = live_run(process)
    except StoreUnreachableError as error:
        st.warning(escaped(f"No curves for now: {error}"), icon=":material/cloud_off:")
        return None
    if run and run.kinds:
        if run.curve_of != run.name:
            st.caption(escaped(f"training now: {run.curve_of}"))
        for place, kind in zip(st.columns(min(2, len(run.kinds))), run.kinds, strict=False):
            with place:
                _draw_curves(kind, run.chart(kind))
    return run


def _draw_curves(kind: str, curves: Mapping[str, Mapping[int, float]]) -> None:
    """Training and validation over epochs; the last values also as text, for those who cannot see the lines."""
    by_part = {metric.split("_")[0]: values for metric, values in curves.items() if values}
    if not by_part:
        return
    title = kind.replace("_", " ")
    last = ", ".join(f"{part} {values[max(values)]:.4f}" for part, values in by_part.items())
    st.altair_chart(by_epoch(by_part, title), alt=f"{title} by epoch: {last}")
    st.caption(f"{title.capitalize()}, epoch {max(map(max, by_part.values()))}: {last}")


def _draw_buttons(process: Process, run: LiveRun | None, note: str) -> None:
    with st.container(horizontal=True):
        if process.active:
            st.button(
                "Stop",
                key=f"stop-{process.id}",
                icon=":material/stop_circle:",
                disabled=process.stopping,
                on_click=_try,
                args=(stop, process.id, note),
                help="It is stopping; a training can be resumed later.",
            )
        else:
            if process.entry in RESUMABLE and process.state != FINISHED:
                st.button(
                    "Resume",
                    key=f"again-{process.id}",
                    icon=":material/play_circle:",
                    on_click=_resume,
                    args=(process, note),
                    help="Resume where it was cut off.",
                )
            st.button(
                "Remove",
                key=f"forget-{process.id}",
                icon=":material/delete:",
                type="tertiary",
                on_click=_try,
                args=(forget, process.id, note),
                help="Remove it from this list, with its log. Its run in MLflow stays.",
            )
        made = _made(process)
        if made:
            chat = made.task == "chatbot"  # which has a page of its own
            st.page_link(
                "views/chat.py" if chat else "views/tasks.py",
                label="Open in its task",
                icon=":material/bolt:",
                query_params={"model": made.key} if chat else {"task": made.task, "model": made.key},
            )
        if run:
            open_link(run.run_id)
            st.link_button(
                "Run in MLflow", run_link(run.run_id, run.experiment_id), icon=":material/open_in_new:", type="tertiary"
            )


def _made(process: Process) -> RegisteredVersion | None:
    """The version that a registration has made."""
    if process.entry != "register" or process.state != FINISHED:
        return None
    try:
        return ready_version(process.values, versions())
    except StoreUnreachableError:
        return None


def _resume(process: Process, note: str) -> None:
    """Resume what was cut off: a training with its run, a comparison or a download by the same command."""
    if process.entry in BY_COMMAND:
        launch(process.entry, process.values, note)
        return
    try:
        run = live_run(process)
    except StoreUnreachableError as error:
        st.session_state[note] = (False, str(error))
        return
    if run is None:
        st.session_state[note] = (False, f"{process.title} ended before its run began: start it again")
    else:
        launch(process.entry, {"resume": run.run_id}, note)


def _try(action: Any, identifier: str, note: str) -> None:
    try:
        action(identifier)
    except ProcessError as error:
        st.session_state[note] = (False, str(error))
