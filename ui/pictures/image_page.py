"""The parts of the image page: which networks, and what each of them says about one picture, side by side."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st
from PIL import Image

from tasks.base import Row
from tasks.registry import RegisteredVersion
from tasks.runtime.jobs import QueueFullError
from ui.answers.answering import REDRAW_S, draw_unanswered
from ui.answers.asking import Asking
from ui.panels.image_classification import draw_attention_on_picture, draw_label
from ui.pictures.class_bars import draw_class_bars
from ui.pictures.image_sources import Given
from ui.plain import escaped
from ui.session import services

MOST, IN_A_ROW = 6, 3
ASKED, NETWORKS = "image-asked", "image-networks"  # in the session's state: version -> Asking; the chosen versions
EXPLAIN = {"explain": True}
DIGITS = frozenset("0123456789")


def choose_networks(found: Sequence[RegisteredVersion]) -> list[RegisteredVersion]:
    """Draw the choice of networks: the champions, until others are chosen."""
    by_key = {one.key: one for one in found}
    if NETWORKS in st.session_state:  # a version may have been deleted meanwhile
        st.session_state[NETWORKS] = [key for key in st.session_state[NETWORKS] if key in by_key]
    else:
        st.session_state[NETWORKS] = [one.key for one in found if one.champion][:MOST]
    chosen = st.multiselect(
        "Networks",
        list(by_key),
        format_func=lambda key: name_of(by_key[key]),
        max_selections=MOST,
        key=NETWORKS,
        persist_state="session",
        help=f"The champion of each data set, unless you choose others; up to {MOST}.",
    )
    return [by_key[key] for key in chosen]


def name_of(version: RegisteredVersion) -> str:
    """A network as an option."""
    return f"{version.model} · {version.name} v{version.version}" + (" · champion" if version.champion else "")


def draw_answers(given: Given, networks: Sequence[RegisteredVersion]) -> None:
    """Ask all networks and draw their answers side by side; comes last on a page, because it draws until all are
    there. A click interrupts it, and it starts again from there."""
    inputs = {one.key: given.for_networks_of(one.tags.get("dataset", "")) for one in networks}
    asked = ask(networks, {key: {"image": image} for key, (image, _) in inputs.items()})
    for one in asked.values():
        one.update(REDRAW_S)  # most are there at once
    busy = any(not one.over for one in asked.values())
    top = st.empty()  # holds its place, so that the answers keep theirs
    if busy:
        top.button("Stop", key="image-stop", icon=":material/stop:", on_click=stop)
    waiting = []
    for start in range(0, len(networks), IN_A_ROW):
        row = networks[start : start + IN_A_ROW]
        for column, network in zip(st.columns(IN_A_ROW if len(networks) > IN_A_ROW else len(row)), row, strict=False):
            waiting.append((network, column.empty()))
    while waiting:
        for network, slot in waiting:
            one = asked[network.key]
            one.update()
            with slot.container(border=True):
                draw_answer(network, one, given, inputs[network.key][1])
        waiting = [(network, slot) for network, slot in waiting if not asked[network.key].over]
        if waiting:
            asked[waiting[0][0].key].update(REDRAW_S)
    if busy:
        st.rerun()  # without the button


def ask(
    networks: Sequence[RegisteredVersion],
    rows: Mapping[str, Row],
    parameters: Mapping[str, Any] = EXPLAIN,
    place: str = ASKED,
) -> dict[str, Asking]:
    """What each network was asked: kept where the row is the same, else asked now, and the old question stopped.

    Args: place: where in the session's state.
    """
    before: dict[str, Asking] = st.session_state.get(place, {})
    asked = {key: one for key, one in before.items() if one.row == rows.get(key)}
    for key in before.keys() - asked.keys():
        before[key].stop()
    st.session_state[place] = asked
    for network in networks:
        if network.key not in asked:
            row = rows[network.key]
            try:
                job = services().submit(network.key, row, parameters)
            except QueueFullError:
                stop(place)
                raise
            asked[network.key] = Asking.of(job, network, row, parameters)
    return asked


def stop(place: str = ASKED) -> None:
    """Stop all that are not over."""
    for one in st.session_state.get(place, {}).values():
        one.stop()


def forget(key: str | None = None, place: str = ASKED) -> None:
    """Ask a network anew at the next look; all of them without a key."""
    asked: dict[str, Asking] = st.session_state.get(place, {})
    for name in [key] if key else list(asked):
        asked.pop(name).stop()


def draw_answer(network: RegisteredVersion, asking: Asking, given: Given, framing: str) -> None:
    """One network's answer, coming or over."""
    st.markdown(f"**{escaped(network.model)}** · {escaped(f'{network.name} v{network.version}')}")
    result = asking.result
    if result is None:
        draw_unanswered(asking)
        if asking.over:
            st.button("Ask again", key=f"image-again-{network.key}", on_click=forget, args=(network.key,))
        return
    draw_label(result)
    if given.label is not None and result["scores"].keys() <= DIGITS:
        right = result["label"] == given.label
        st.caption(":material/check_circle: right" if right else f":material/cancel: wrong, it is {given.label}")
    elif given.digit is not None and not DIGITS & result["scores"].keys():
        st.caption(escaped(f"It knows no digits, only {', '.join(sorted(result['scores']))}."))
    draw_class_bars(result["scores"])
    draw_attention_on_picture(result)
    st.caption(f"It saw {seen_pixels(result)}, the picture {escaped(framing)}.")
    st.caption(escaped(asking.facts()))


def seen_pixels(result: Row) -> str:
    """The size and kind of the picture that a network got."""
    picture = Image.open(io.BytesIO(base64.b64decode(result["seen"])))
    return f"{picture.width} x {picture.height} {'gray' if picture.mode == 'L' else 'color'} pixels"
