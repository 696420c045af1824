"""An encoder-decoder at work, one step at a time: what it wrote, what else it could have written, where it looked."""

from collections.abc import Sequence

import streamlit as st

from tasks.base import Row
from ui.pictures.class_bars import bars_html
from ui.plain import escaped
from ui.results.sequences import chips

ALTERNATIVES = 5


def draw_steps(steps: Sequence[Row] | None, source: Sequence[int], key: str) -> None:
    """Draw the steps of an answer behind a slider; nothing for an answer without them.

    Args:
        steps: as the task `sequence-reversal` gives them.
        key: distinguishes the answers of one page.
    """
    if not steps:
        return
    with st.expander("The decoding, step by step", icon=":material/footprint:"):
        st.fragment(_draw_step)(steps, source, key)


def _draw_step(steps: Sequence[Row], source: Sequence[int], key: str) -> None:
    place = st.slider("Step", 1, len(steps), key=f"{key}-step") if len(steps) > 1 else 1
    step = steps[place - 1]
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown(said(step, place, source))
        st.caption("Read" if step["attention"] is None else "Read, tinted by the attention of this step")
        st.html(chips(source, shares=step["attention"]))
        st.caption("Written so far")
        st.html(chips([one["token"] for one in steps[:place]], framed=place - 1))
    with right:
        st.caption("The most probable candidates for this step")
        st.html(bars_html({one["token"]: one["probability"] for one in step["alternatives"]}))


def said(step: Row, place: int, source: Sequence[int]) -> str:
    """A step in a sentence or two, as Markdown."""
    chosen = next((one for one in step["alternatives"] if one["token"] == step["token"]), None)
    odds = f" with a probability of {chosen['probability']:.1%}" if chosen else ", which is not among its candidates"
    writes = "ends the sequence" if step["token"] == "end" else f"writes **{escaped(step['token'])}**"
    sentence = f"In step {place} the network {writes}{odds}."
    looks = step["attention"]
    if not looks:
        return sentence
    most = max(range(len(looks)), key=looks.__getitem__)
    return f"{sentence} It looks most at place {most + 1}, where it reads **{source[most]}** ({looks[most]:.0%})."
