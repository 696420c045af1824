"""The parts of the task page: choose a task and a model, ask, watch the answer come, stop it, continue it."""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from tasks import TASKS
from tasks.base import Row
from tasks.registry import RegisteredVersion
from ui.answers import batch_panel, history_panel
from ui.answers import blind as blind_votes
from ui.answers.answer import Asked
from ui.answers.answering import askings_of, draw_answers, form_key, leave, once, refusal, start, stop
from ui.answers.forms import draw_parameters, fill_parameters, limited
from ui.answers.rating import draw_log_switch
from ui.labels import task_title
from ui.panels import Example, Panel
from ui.panels import panel as panel_of
from ui.plain import escaped
from ui.session import services, show_errors

# Keys of the session's state.
TASK, LINK, TAB = "tasks-task", "tasks-link", "tasks-tab"
ASK, BATCH, HISTORY, LEADERBOARD = "Ask", "Batch", "History", "Leaderboard"


def choose_task(found: Mapping[str, list[RegisteredVersion]]) -> str:
    """Draw the choice of a task; `?task=` and `?model=` of the address are chosen where they are new."""
    link = (st.query_params.get("task"), st.query_params.get("model"))
    if link != st.session_state.get(LINK):
        task, model = link
        task = task or next((one.task for models in found.values() for one in models if one.key == model), None)
        if task is not None and task in found:
            st.session_state[TASK] = task
            if any(one.key == model for one in found[task]):
                st.session_state[model_key(task)] = model
        elif task or model:
            st.warning(escaped(f"Unknown task in the link: {task or model}."))
    if st.session_state.get(TASK) not in found:
        asked_here = (task for task in TASKS if task in found and not panel_of(task).page)
        st.session_state[TASK] = next(asked_here, next(iter(found)))
    return st.selectbox("Task", list(found), format_func=task_title, key=TASK, persist_state="session")


def choose_model(task: str, models: Sequence[RegisteredVersion]) -> RegisteredVersion:
    """Draw the choice of a version, champions first; the address then names both choices."""
    chosen = choose_version("Model", models, model_key(task))
    st.session_state[LINK] = (task, chosen.key)
    st.query_params.from_dict({"task": task, "model": chosen.key})
    return chosen


def choose_version(label: str, models: Sequence[RegisteredVersion], key: str) -> RegisteredVersion:
    """A choice among versions. Its options are their keys, so that a promotion does not change what is chosen."""
    by_key = {one.key: one for one in models}
    if st.session_state.get(key) not in by_key:
        st.session_state[key] = next(iter(by_key))
    chosen = st.selectbox(
        label, list(by_key), format_func=lambda one: describe_version(by_key[one]), key=key, persist_state="session"
    )
    return by_key[chosen]


def describe_version(version: RegisteredVersion) -> str:
    """A version as an option: what it is called, which it is, whether it is the champion, its license."""
    license = f"license: {version.license}" if version.license else ""
    champion = "champion" if version.champion else ""
    parts = (version.model, f"{version.name} v{version.version}", champion, license)
    return " · ".join(" ".join(part.split()) for part in parts if part)


def model_key(task: str) -> str:
    """Where the choice of a task's model is kept."""
    return f"tasks-model-{task}"


def known(found: Mapping[str, list[RegisteredVersion]]) -> dict[str, list[RegisteredVersion]]:
    """The tasks that this program knows."""
    return {task: models for task, models in found.items() if task in TASKS}


def draw_ask(panel: Panel, version: RegisteredVersion, models: Sequence[RegisteredVersion]) -> None:
    """The form, the buttons and the answers; comes last on a page, because it draws until the answers are there."""
    if panel.page:
        _draw_own_page(panel, version)
        return
    key = form_key(panel.task)
    panel.starter = version.tags.get("starter") == "true"
    draw_examples(panel, panel.examples_for(starter=panel.starter), key)
    row = panel.row(key)
    errors = st.container()
    with st.container(horizontal=True, vertical_alignment="center"):
        buttons = st.container(horizontal=True, width="content")
        blind = blind_votes.wants_blind(models, panel.task)
        wanted = not blind and wants_second(version, models)
        draw_log_switch()
    second = second_model(version, models, wanted)
    asked = blind_votes.choose_blind(models, panel.task) if blind else [version, *second]
    specs = {name: spec for name, spec in panel.specs.items() if name not in panel.hidden}
    parameters = draw_parameters(limited(specs, services().worker.limits(version.key)), f"{key}-set")

    def ask(row: Row, **changed: Any) -> None:
        panel.fill(row, key)
        fill_parameters(panel.parameters, {**parameters, **changed}, f"{key}-set")
        if asked:
            start(asked, row, {**parameters, **changed}, hidden=blind)

    panel.ask = ask
    answers = st.container(key=f"{key}-answers")
    panel.draw_below(key)
    with buttons:
        if st.button(
            "Run",
            key=f"{key}-run",
            type="primary",
            icon=":material/play_arrow:",
            shortcut="Ctrl+Enter",
            disabled=not asked,
        ):
            start(asked, row, parameters, once if blind else panel.several, blind)
        askings = askings_of(panel.task)
        busy = any(not one.over for one in askings)
        st.button("Stop", key=f"{key}-stop", icon=":material/stop:", disabled=not busy, on_click=stop, args=(askings,))
    refused = refusal()
    if refused:
        errors.error(escaped(refused), icon=":material/error:")
    with answers:
        draw_answers(panel, askings, key, errors)
        blind_votes.draw_vote(askings)


def _draw_own_page(panel: Panel, version: RegisteredVersion) -> None:
    if panel.is_filled():
        st.switch_page(panel.page)
    st.page_link(
        panel.page,
        label=f"{task_title(panel.task)} has a page of its own, where conversations are kept",
        icon=":material/forum:",
        query_params={"model": version.key},
    )


def wants_second(version: RegisteredVersion, models: Sequence[RegisteredVersion]) -> bool:
    """The switch for a model beside the first one."""
    others = [one for one in models if one.key != version.key]
    return st.toggle(
        "Side by side with a second model",
        key=f"tasks-side-{version.task}",
        disabled=not others,
        help=None if others else "No other version is registered for this task.",
        persist_state="session",
    )


def second_model(
    version: RegisteredVersion, models: Sequence[RegisteredVersion], wanted: bool
) -> list[RegisteredVersion]:
    """The choice of a model beside the first one, if it is wanted."""
    others = [one for one in models if one.key != version.key]
    return [choose_version("Second model", others, f"tasks-second-{version.task}")] if wanted and others else []


def draw_examples(panel: Panel, examples: Sequence[Example], key: str) -> None:
    """Buttons that fill in an example."""
    if not examples:
        return
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        st.caption("Examples", width="content")
        for number, example in enumerate(examples):
            st.button(
                escaped(example.label),
                key=f"{key}-example-{number}",
                on_click=panel.fill,
                args=(example.row, key),
            )


def draw_batch(panel: Panel, version: RegisteredVersion, models: Sequence[RegisteredVersion]) -> None:
    """Many rows, typed or from a file; the settings are those of the form."""
    parameters = draw_parameters(panel.specs, f"{form_key(panel.task)}-set")
    batch_panel.draw_batch(panel.task, version, models, parameters)


def draw_history(panel: Panel, _version: RegisteredVersion, _models: Sequence[RegisteredVersion]) -> None:
    """What was asked before; an old question can be put into the form again."""
    history_panel.draw_history(panel.task, reuse)


def draw_leaderboard(panel: Panel, _version: RegisteredVersion, models: Sequence[RegisteredVersion]) -> None:
    """How often the models' answers were preferred in blind comparisons."""
    with show_errors("leaderboard"):
        blind_votes.draw_leaderboard(panel.task, models)


def reuse(asked: Asked) -> None:
    """Put a question from the history into the form, and go there."""
    one = panel_of(asked.task)
    key = form_key(asked.task)
    one.fill(asked.row, key)
    fill_parameters(one.parameters, {**dict.fromkeys(one.specs), **asked.parameters}, f"{key}-set")
    leave(askings_of(asked.task))
    st.session_state[TAB] = ASK
