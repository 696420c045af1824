"""Draws the registry and the catalog: versions with what is known of them, promotion, registering, memory in use."""

from collections.abc import Mapping, Sequence

import streamlit as st

from tasks import PRETRAINED_TASKS
from tasks.catalog import CatalogModel, catalog
from tasks.registry import RegisteredVersion
from tasks.runtime.loaded import GIGABYTE
from tasks.texts import inert
from ui.labels import task_title
from ui.plain import escaped
from ui.running.model_facts import (
    champion_rule,
    facts,
    promote,
    reason_to_ask,
    registered_as,
    run_metrics,
    version_link,
    wrong_with,
)
from ui.running.process_cards import draw_note, launch
from ui.running.processes import processes
from ui.session import USER_FACING_ERRORS, StoreUnreachableError, forget_versions, services, show_errors

OTHERS_SHOWN = 5
PROMOTED, REGISTERING = "models-promoted", "models-registering"
CHAMPION = {"auto": "If it is the first or beats the champion", "true": "Yes", "false": "No"}


def draw_model(name: str, versions: Sequence[RegisteredVersion]) -> None:
    """A registered model: its champion, then its other versions, the newest first."""
    champion = next((one for one in versions if one.champion), None)
    with st.container(border=True, key=f"model-{name}"):
        st.header(escaped(name))
        st.caption(escaped(task_title(versions[0].task)))
        if champion is None:
            st.warning("It has no champion, so the serve command cannot find it. Choose one.", icon=":material/flag:")
        draw_note(f"{PROMOTED}-{name}")
        others = [one for one in versions if not one.champion]
        if champion:
            _draw_version(champion, champion)
        if not others:
            return
        everything = champion is None or (
            len(others) <= OTHERS_SHOWN or st.toggle(f"Show all {len(others)} other versions", key=f"all-{name}")
        )
        for one in others if everything else others[:OTHERS_SHOWN]:
            st.divider()
            _draw_version(one, champion)


def _draw_version(version: RegisteredVersion, champion: RegisteredVersion | None) -> None:
    left, right = st.columns([11, 9], vertical_alignment="center")
    with left:
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**Version {version.version}**", width="content")
            if version.champion:
                st.badge("champion", icon=":material/star:", color="green")
            for alias in version.aliases:
                if alias != "champion":
                    st.badge(escaped(alias), color="gray")
            st.markdown(escaped(version.model), width="content")
        st.caption(escaped(" · ".join(facts(version))))
    with right, st.container(horizontal=True, vertical_alignment="center"):
        _draw_buttons(version, champion)


def _draw_buttons(version: RegisteredVersion, champion: RegisteredVersion | None) -> None:
    key = version.key
    if not version.champion:
        doubt = reason_to_ask(version, champion)
        clicked = st.button(
            "Make champion",
            key=f"promote-{key}",
            icon=":material/star:",
            on_click=None if doubt else _promote,
            args=(version,),
        )
        if clicked and doubt:
            _confirm(version, doubt)
    if st.button("Details", key=f"details-{key}", icon=":material/list:", type="tertiary"):
        _draw_details(version)
    st.page_link(
        "views/tasks.py", label="Try it", icon=":material/bolt:", query_params={"task": version.task, "model": key}
    )


@st.dialog("Make it champion?", icon=":material/star:")
def _confirm(version: RegisteredVersion, doubt: str) -> None:
    st.write(escaped(doubt))
    st.write("The champion is what the tool offers first, and what the serve command serves.")
    with st.container(horizontal=True):
        if st.button("Make champion anyway", key="promote-anyway", type="primary", on_click=_promote, args=(version,)):
            st.rerun()
        if st.button("Cancel", key="promote-cancel"):
            st.rerun()


def _promote(version: RegisteredVersion) -> None:
    note = f"{PROMOTED}-{version.name}"
    try:
        promote(version)
        st.session_state[note] = (True, f"Version {version.version} is now the champion.")
    except (*USER_FACING_ERRORS, StoreUnreachableError) as error:
        st.session_state[note] = (False, str(error))
    forget_versions()


@st.dialog("Details", width="medium", icon=":material/list:")
def _draw_details(version: RegisteredVersion) -> None:
    st.markdown(f"**{escaped(f'{version.name}, version {version.version}')}**")
    if version.description:
        st.write(escaped(version.description))
    with show_errors("details"):
        metrics, run = run_metrics(version)
        with st.container(horizontal=True):
            st.link_button("Version in MLflow", version_link(version), icon=":material/open_in_new:", type="tertiary")
            if run:
                st.link_button("Its run in MLflow", run, icon=":material/open_in_new:", type="tertiary")
        tags = {**version.tags, **({"aliases": ", ".join(version.aliases)} if version.aliases else {})}
        _draw_table("Tags", {name: inert(value) for name, value in tags.items()})
        _draw_table("Metrics of its run", {name: f"{value:.6g}" for name, value in metrics.items()})


def _draw_table(title: str, rows: Mapping[str, str]) -> None:
    """Names and texts; a cell of this table is text, whatever is in it."""
    if rows:
        st.markdown(f"**{title}**")
        st.dataframe(
            {"name": [inert(name) for name in rows], "value": [str(value) for value in rows.values()]}, hide_index=True
        )


def draw_catalog(versions: Sequence[RegisteredVersion]) -> None:
    """The models of the catalog by task, each with a button; and a field for any other model."""
    st.write(
        "Registering fetches the weights, asks the model one question, and measures it on a small sample. "
        "It needs an internet connection, unless the model is a local folder or was fetched before."
    )
    package = st.toggle(
        "Copy the weights into the registry",
        key="models-package",
        persist_state="session",
        help="Then it can be served offline; the weights take their disk space twice.",
    )
    task = st.selectbox(
        "Task to register for", PRETRAINED_TASKS, format_func=task_title, key="models-task", persist_state="session"
    )
    champion = st.selectbox(
        "Make it champion",
        CHAMPION,
        format_func=lambda value: CHAMPION[value],
        key="models-champion",
        persist_state="session",
        help=champion_rule(task),
    )
    values = {"task": task, "package_weights": str(package).lower(), "champion": champion}
    at_work = {process.values.get("model") for process in processes() if process.active and process.entry == "register"}
    for offer in catalog()[task].models:
        _draw_offer(offer, values, registered_as(offer, task, versions), offer.name in at_work)
    _draw_other(values)


def _draw_offer(offer: CatalogModel, values: Mapping[str, str], present: str, at_work: bool) -> None:
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{escaped(offer.model_id)}**", width="content")
            if offer.default:
                st.badge("default", color="blue")
            if present:
                st.badge(escaped(present), icon=":material/check:", color="green")
        license = f"license {offer.license}" if offer.license else "license not looked up"
        st.caption(escaped(" · ".join(filter(None, (offer.size(), license, offer.note)))))
        with st.container(horizontal=True):
            st.button(
                "Registering" if at_work else "Register again" if present else "Register",
                disabled=at_work,
                key=f"register-{values['task']}-{offer.name}",
                icon=":material/download:",
                on_click=launch,
                args=("register", {**values, "model": offer.name}, f"{REGISTERING}-{offer.name}"),
            )
            if offer.source:
                st.link_button("Source", offer.source, icon=":material/open_in_new:", type="tertiary")
        draw_note(f"{REGISTERING}-{offer.name}")


def _draw_other(values: Mapping[str, str]) -> None:
    with st.container(border=True):
        st.markdown("**Another model**")
        model = st.text_input(
            "Id on the Hugging Face Hub (owner/name), a folder, or a .gguf file",
            key="models-other",
            max_chars=500,
            persist_state="session",
        )
        wrong = wrong_with(model) if model else ""
        if wrong:
            st.error(escaped(wrong), icon=":material/error:")
        ready = bool(model.strip()) and not wrong
        st.button(
            "Register",
            key="register-other",
            icon=":material/download:",
            disabled=not ready,
            on_click=launch,
            args=("register", {**values, "model": model.strip()}, REGISTERING),
        )
        draw_note(REGISTERING)


@st.fragment
def draw_memory() -> None:
    """What the worker holds now, and what it may."""
    now = services().worker.statistics()
    used = f"{now.bytes / GIGABYTE:.2f} of {now.budget_bytes / GIGABYTE:.1f} GB"
    st.progress(min(1.0, now.bytes / now.budget_bytes), f"Models in memory: {used}")
    if now.loaded:
        _draw_table(
            "Loaded, longest unused first", {name: f"{size / GIGABYTE:.2f} GB" for name, size in now.loaded.items()}
        )
    else:
        st.caption("No model is loaded; the first question to a model loads it.")
    state = f"{now.running} is answering" if now.running else "Idle"
    st.caption(escaped(f"{state}, {f'{now.queued} queued' if now.queued else 'queue empty'}"))
    st.caption(
        "When the memory is used up, the model unused for longest makes room. "
        "PROJECT_DL_MEMORY_GB sets how much there is."
    )
    st.button("Refresh", key="models-memory", icon=":material/refresh:")
