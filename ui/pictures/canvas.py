"""A canvas to draw a digit on, white on black as the data sets have theirs: a small component of our own."""

from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components.v2 import component

LINE_WIDTHS, LINE_WIDTH = (8, 40), 22  # of the 280 pixels; what is written at this width is as thick as MNIST's digits
MAX_PICTURE = 500_000  # characters; a full canvas is a twentieth of that

HTML = f"""
<div class="board">
  <canvas width="280" height="280" role="img" aria-label="Canvas: draw a digit with the mouse, a finger or a pen">
  </canvas>
  <div class="tools">
    <button type="button" data-do="undo">Undo</button>
    <button type="button" data-do="clear">Clear</button>
    <label>Line width
      <input type="range" min="{LINE_WIDTHS[0]}" max="{LINE_WIDTHS[1]}" value="{LINE_WIDTH}">
    </label>
  </div>
</div>
"""

CSS = """
.board { width: 280px; max-width: 100%; font-family: var(--st-font); color: var(--st-text-color); }
canvas {
  display: block; width: 100%; aspect-ratio: 1; box-sizing: border-box; cursor: crosshair; touch-action: none;
  border: 1px solid var(--st-border-color); border-radius: var(--st-base-radius);
}
.tools { display: flex; flex-wrap: wrap; align-items: center; gap: 0.5rem; margin-top: 0.5rem; font-size: 0.875rem; }
button {
  font: inherit; color: inherit; background: transparent; cursor: pointer; min-height: 2.25rem; padding: 0 0.75rem;
  border: 1px solid var(--st-border-color); border-radius: var(--st-button-radius);
}
button:hover:enabled { border-color: var(--st-primary-color); color: var(--st-primary-color); }
button:disabled { opacity: 0.4; cursor: default; }
label { display: flex; align-items: center; gap: 0.5rem; flex: 1; white-space: nowrap; }
input { flex: 1; min-width: 3rem; accent-color: var(--st-primary-color); }
button:focus-visible, input:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 2px; }
"""

_mount = component("digit_canvas", html=HTML, css=CSS, js=Path(__file__).with_name("canvas.js").read_text())


def draw_canvas(key: str) -> str | None:
    """Draw the canvas; what is drawn stays for the session, also on other pages.

    Returns the picture, 280 x 280 pixels, white on black, as the data URL of a PNG; None for an empty canvas.
    """
    kept = f"{key}-kept"
    # The component keeps its state only while it is on the page; it looks at the data when it comes onto it.
    given: Any = _mount(key=key, data=st.session_state.get(kept), on_drawing_change=lambda: None)
    if given.drawing is not None:
        st.session_state[kept] = given.drawing
    return picture_of(st.session_state.get(kept))


def picture_of(drawing: Any) -> str | None:
    """The picture of what a browser says was drawn; None if it says nothing that could be one."""
    picture = drawing.get("picture") if isinstance(drawing, dict) else None
    return picture if isinstance(picture, str) and len(picture) <= MAX_PICTURE else None
