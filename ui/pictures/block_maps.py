"""What the blocks of a network make of a picture, drawn: answers of image classification with `layers`."""

import base64

import streamlit as st

from tasks.base import Row
from ui.plain import escaped

IN_A_ROW = 3


def draw_maps(result: Row) -> None:
    """The first layer's filters, and the strongest maps of each block."""
    tiles = [("Filters of the first layer", "what it looks for; gray is zero", result["filters"])]
    for number, block in enumerate(result["layers"], 1):
        maps, height, width = block["shape"]
        shown = min(maps, 16)
        tiles.append((f"{number}. {block['title']}", f"{shown} of {maps} maps, {height} x {width}", block["maps"]))
    for start in range(0, len(tiles), IN_A_ROW):
        for column, (title, words, picture) in zip(st.columns(IN_A_ROW), tiles[start : start + IN_A_ROW], strict=False):
            with column:
                st.markdown(f"**{escaped(title)}**")
                st.image(base64.b64decode(picture), words, alt=f"{title}: {words}", width="stretch")
    st.caption("Each map is scaled from its own darkest to its brightest value; the strongest come first.")
