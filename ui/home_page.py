"""The parts of the home page: tasks with a model, tasks without one, the first start, and what is at work."""

from collections.abc import Collection, Mapping

import streamlit as st

from experiments.config import ConfigError
from tasks import PRETRAINED_TASKS, TASKS
from tasks.catalog import catalog
from tasks.registry import RegisteredVersion
from ui.labels import task_title
from ui.panels import panel
from ui.plain import escaped
from ui.running.first_start import first_processes, first_steps, start_first_steps
from ui.running.live_run import reason
from ui.running.process_cards import LOOK, draw_progress
from ui.running.processes import FAILED, FINISHED, RUNNING, WAITING, Process, ProcessError, log_tail, processes
from ui.session import forget_versions, show_errors, versions

COLUMNS = 3
REFRESH_S = 2.0
SEEN = "home-seen"  # what was at work, and what was registered


def draw_tasks(found: Mapping[str, list[RegisteredVersion]]) -> None:
    """A card for every task that has a model: what it does, which models, where to use them."""
    st.header("What you can do now")
    rows = [st.columns(COLUMNS) for _ in range(0, len(found), COLUMNS)]  # the cards of a row are of one height
    for place, (task, models) in enumerate(found.items()):
        with rows[place // COLUMNS][place % COLUMNS].container(border=True, height="stretch"):
            shown = panel(task) if task in TASKS else None
            own = shown.page if shown else ""
            st.page_link(
                own or "views/tasks.py",
                label=f"**{task_title(task)}**",
                icon=":material/bolt:",
                query_params={} if own else {"task": task},
            )
            if shown:
                st.write(shown.purpose)
            names = list(dict.fromkeys(one.model for one in models))  # champions first
            more = f" and {len(names) - 2} more" if len(names) > 2 else ""
            st.caption(escaped(", ".join(names[:2]) + more))


def draw_first_start(found: Collection[str]) -> None:
    """A new registry: what can be put into it offline, and the one button that does it; nothing once it works.

    Args: found: the tasks that have a model.
    """
    steps = first_steps(found)
    if not steps or first_processes():
        return
    offer = "One click adds everything else" if found else "Nothing is registered yet. One click sets up everything"
    st.info(f"{offer} that works offline:", icon=":material/rocket_launch:")
    st.markdown("\n".join(f"- {escaped(step.purpose)}" for step in steps))
    if st.button("Train and register these", type="primary", key="home-first-start"):
        try:
            start_first_steps(found)
        except (ConfigError, ProcessError) as error:
            st.error(escaped(str(error)))
        else:
            st.rerun()


def draw_missing(found: Mapping[str, list[RegisteredVersion]]) -> None:
    """Tasks of pretrained models that have none yet, and where to get one."""
    missing = [task for task in PRETRAINED_TASKS if task not in found]
    if not missing or first_processes():
        return
    with st.expander(f"{len(missing)} tasks need a model", icon=":material/download:"):
        st.write("Download a model once, or use a local model folder.")
        for task in missing:
            model = catalog()[task].default
            st.markdown(f"**{task_title(task)}**: {escaped(f'{model.name} ({model.size()})')}")
        st.page_link("views/models.py", label="Choose and register models", icon=":material/deployed_code:")


@st.fragment(run_every=REFRESH_S)
def draw_work(empty: bool) -> None:
    """What is being trained and registered now; the page is drawn anew when one has ended, or a model is ready."""
    listed = processes()
    active = {process.id for process in listed if process.active}
    with show_errors("work"):
        now = active, {one.key for one in versions()} if active else set()
        before, known = st.session_state.get(SEEN, now)
        st.session_state[SEEN] = now
        if before - active or now[1] - known:
            forget_versions()
            st.rerun()
    first = first_processes()
    if first:
        st.header("Setting up")
        done = sum(process.state == FINISHED for _, process in first)
        st.caption(f"{done} of {len(first)} steps done. Each model can be used as soon as it is ready.")
    for step, process in first:
        _draw_process(process, step.purpose)
    for process in listed:
        if process.id in {step.id for _, step in first}:
            continue
        if process.active:
            _draw_process(process, process.title)
        elif process.state == FAILED and empty:
            st.error(escaped(f"{process.title} failed: {reason(process, log_tail(process.id))}"))
    if active:
        st.page_link("views/runs.py", label="Watch them", icon=":material/monitoring:")


def _draw_process(process: Process, name: str) -> None:
    """One line: its state, what it makes, how far it is, and how long it still takes."""
    icon, color = LOOK[process.state]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge("queued" if process.state == WAITING else process.state, icon=icon, color=color)  # type: ignore[arg-type]
        st.markdown(escaped(name[:1].upper() + name[1:]), width="content")
    if process.state == FAILED:
        st.error(escaped(reason(process, log_tail(process.id))))
    elif process.state == RUNNING:
        draw_progress(process, log_tail(process.id))
