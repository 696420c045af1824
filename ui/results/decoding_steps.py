"""An encoder-decoder at work, one step at a time: what it wrote, what else it could have written, where it looked."""

from collections.abc import Sequence

import streamlit as st

from tasks.base import Row
from ui.pictures.class_bars import bars_html
from ui.plain import escaped, escaped_html

ALTERNATIVES = 5
STRONGEST = 0.55  # of the tint: the number in it can still be read, on a white and on a black page
CHIP = "display:inline-block;text-align:center;min-width:2.2rem;padding:.1rem .3rem;border-radius:.35rem;border:"
THIN, THICK = "1px solid rgba(127,127,127,.55)", "2px solid currentColor"


def draw_steps(steps: Sequence[Row] | None, source: Sequence[int], key: str) -> None:
    """Draw the steps of an answer behind a slider; nothing for an answer without them.

    Args:
        steps: as the task `sequence-reversal` gives them.
        key: tells answers of one page apart.
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
        st.html(chips([str(number) for number in source], step["attention"]))
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


def chips(tokens: Sequence[str], shares: Sequence[float] | None = None, framed: int | None = None) -> str:
    """Tokens as HTML, a box each.

    Args:
        shares: of attention: the tint of each box, and a number below its token.
        framed: the place of a box to point out, from 0.
    """
    boxes = []
    for place, token in enumerate(tokens):
        tint, below = "", ""
        if shares is not None:
            tint = f";background:rgba(47,127,224,{STRONGEST * min(shares[place], 1.0):.3f})"
            below = f'<br><span style="font-size:.75rem">{shares[place]:.0%}</span>'
        border = THICK if place == framed else THIN
        boxes.append(f'<span style="{CHIP}{border}{tint}">{escaped_html(token)}{below}</span>')
    return f'<div style="display:flex;flex-wrap:wrap;gap:.3rem">{"".join(boxes)}</div>'
