"""Draws "Find on the Hub": search, what was found, and what is being fetched."""

from collections.abc import Mapping, Sequence

import streamlit as st

from tasks import PRETRAINED_TASKS
from tasks.base import ModelFolderError
from tasks.hub.fetch import discard, left_over
from tasks.hub.memory import memory_there_is
from tasks.hub.names import parse
from tasks.hub.repository import DownloadPlan, in_bytes
from tasks.hub.search import Offer
from tasks.registry import RegisteredVersion
from ui.hub.finding import Found, facts, find, fits, quantizations
from ui.hub.token import draw_token, token
from ui.labels import task_title
from ui.plain import escaped
from ui.running.process_cards import draw_note, draw_processes, launch
from ui.running.processes import processes

FOUND, PLANS, NOTE = "hub-found", "hub-plans", "hub-note"
TASK, WORDS = "hub-task", "hub-words"
LONGEST = 100


def draw_hub(versions: Sequence[RegisteredVersion]) -> None:
    """The search, its results, and the downloads. Args: versions: all that are registered."""
    st.write("Models of the Hugging Face Hub that can run here: a click downloads one, tries it and registers it.")
    with st.form("hub-search", border=False):
        left, middle, right = st.columns([3, 5, 2], vertical_alignment="bottom")
        left.selectbox("Task", PRETRAINED_TASKS, format_func=task_title, key=TASK, persist_state="session")
        middle.text_input("Words in the name", placeholder="qwen 0.5b", key=WORDS, max_chars=LONGEST)
        asked = right.form_submit_button("Search", key="hub-go", type="primary", icon=":material/search:")
    draw_token()
    if asked:
        with st.spinner("Asking the Hub"):
            st.session_state[FOUND] = find(st.session_state[TASK], st.session_state[WORDS].strip(), token())
    found: Found | None = st.session_state.get(FOUND)
    draw_note(NOTE)
    left, right = st.columns(2, gap="large")
    with left:
        st.header("Found")
        if found is not None:
            _draw_found(found, versions)
        else:
            st.info(
                "Search by words in model names; leave it empty for the most popular.",
                icon=":material/search:",
            )
    with right:
        st.header("Downloads")
        _draw_left_over()
        draw_processes(("register",), "Nothing is being downloaded.")


def _draw_found(found: Found, versions: Sequence[RegisteredVersion]) -> None:
    task, words = found.asked
    if found.failure:
        st.error(escaped(found.failure), icon=":material/cloud_off:")
        if found.offers:
            st.write("These are in the local cache:")
    elif not found.offers:
        st.info(
            escaped(f"No model for {task_title(task)} whose name has “{words}” can run here. Try fewer words.")
            if words
            else "The Hub names no model for this task that can run here.",
            icon=":material/search_off:",
        )
    room = memory_there_is()
    values = [process.values for process in processes() if process.active and process.entry == "register"]
    at_work = {one.get("model", "").split(":")[0] for one in values if one.get("task") == task}
    here = {one.tags.get("hub_id") for one in versions if one.task == task}
    for offer in found.offers:
        _draw_offer(offer, task, room, at_work=offer.hub_id in at_work, here=offer.hub_id in here)


def _draw_offer(offer: Offer, task: str, room: int, *, at_work: bool, here: bool) -> None:
    key = f"{task}-{offer.hub_id}"
    plan: DownloadPlan | None = st.session_state.get(PLANS, {}).get(key)
    with st.container(border=True, key=f"hub-{key.replace('/', '-')}"):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{escaped(offer.hub_id)}**", width="content")
            st.badge(offer.kind, color="blue" if offer.kind == "GGUF" else "gray")
            if offer.gated:
                st.badge("gated", icon=":material/lock:", color="orange")
            if here:
                st.badge("registered", icon=":material/check:", color="green")
            if not fits(offer, room):
                st.badge("too large for the memory", icon=":material/memory:", color="red")
        st.caption(escaped(facts(offer, room)))
        variant = _draw_variants(plan, key) if plan else ""
        with st.container(horizontal=True, vertical_alignment="bottom"):
            st.button(
                "At work" if at_work else "Download again" if here else "Download and register",
                key=f"hub-get-{key}",
                icon=":material/download:",
                disabled=at_work or not fits(offer, room),
                on_click=launch,
                args=("register", _values(task, offer.hub_id, variant), NOTE),
            )
            if offer.kind == "GGUF" and offer.downloads is not None and not plan:
                st.button(
                    "Choose the quantization",
                    key=f"hub-ask-{key}",
                    type="tertiary",
                    on_click=_ask,
                    args=(task, offer.hub_id),
                )


def _draw_variants(plan: DownloadPlan, key: str) -> str:
    """A choice among the GGUF files of a model; the name of the chosen one, empty without a choice."""
    if not plan.variants:
        return ""
    names = [one.name for one in plan.variants]
    chosen = next(number for number, one in enumerate(plan.variants) if plan.source.file in one.files)
    sizes = {one.name: in_bytes(one.bytes) for one in plan.variants}
    return st.selectbox(
        "Quantization",
        names,
        index=chosen,
        format_func=lambda name: f"{name} ({sizes[name]}{', suggested' if name == names[chosen] else ''})",
        key=f"hub-variant-{key}",
        width=360,
    )


def _values(task: str, hub_id: str, variant: str) -> Mapping[str, str]:
    return {"task": task, "model": f"{hub_id}:{variant}" if variant else hub_id}


def _ask(task: str, hub_id: str) -> None:
    """Ask the Hub which GGUF files a model has."""
    try:
        plan = quantizations(task, hub_id, token())
        st.session_state[PLANS] = {**st.session_state.get(PLANS, {}), f"{task}-{hub_id}": plan}
    except ModelFolderError as error:
        st.session_state[NOTE] = (False, str(error))


def _draw_left_over() -> None:
    """What unfinished downloads keep on the disk, and a button to remove it, unless a download continues it."""
    named = [(parse(one.values.get("model", "")), one.active) for one in processes() if one.entry == "register"]
    models = {model[0] for model, _ in named if model} - {model[0] for model, active in named if model and active}
    for hub_id in sorted(models):
        size = left_over(hub_id)
        if not size:
            continue
        with st.container(horizontal=True, vertical_alignment="center"):
            st.caption(
                escaped(f"{hub_id}: {in_bytes(size)} of an unfinished download are kept for the next try."),
                width="content",
            )
            st.button(
                "Remove them",
                key=f"hub-discard-{hub_id}",
                icon=":material/delete:",
                type="tertiary",
                on_click=_discard,
                args=(hub_id,),
            )


def _discard(hub_id: str) -> None:
    discard(hub_id)
