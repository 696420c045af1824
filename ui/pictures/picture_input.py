"""A picture from the user: uploaded, checked, kept for the session with a thumbnail, to be removed again.

An upload box cannot be filled by a program; what is kept here can, from the history or from another picture.
"""

import base64
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from PIL import Image

from tasks.base import TaskInputError
from ui.pictures.drawing import Pixels, pixels_of, png
from ui.plain import escaped

MAX_MEGABYTES = 20
MAX_SIDE = 1536  # no model here looks at more pixels; every question would carry them
THUMBNAIL = 160


@dataclass(frozen=True)
class Picture:
    """A checked picture.

    Attributes:
        image: PNG or JPEG in base64, as tasks take it.
        thumbnail: a small copy, `(h, w, 3)`.
        size: what it measures, for the page.
    """

    image: str
    thumbnail: Pixels
    size: str

    @classmethod
    def of(cls, image: str) -> "Picture":
        """Check a picture; one larger than models look at is reduced. Raises TaskInputError."""
        pixels = pixels_of(image)
        height, width = pixels.shape[:2]
        size = f"{width} x {height} pixels"
        if max(height, width) > MAX_SIDE:
            pixels = reduced(pixels, MAX_SIDE)
            image, size = png(pixels), f"{size}, reduced to {pixels.shape[1]} x {pixels.shape[0]}"
        return cls(image, reduced(pixels, THUMBNAIL), size)


def reduced(pixels: Pixels, side: int) -> Pixels:
    """A copy whose longer side has at most `side` pixels."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((side, side))
    return np.asarray(picture)


def draw_picture_input(label: str, key: str) -> str | None:
    """Draw the box for a file, or the picture that is kept. Returns the picture in base64; None without one."""
    kept: Picture | None = st.session_state.get(key)
    if kept is None:
        box = _box(key)
        st.file_uploader(
            label,
            ["png", "jpg", "jpeg"],
            key=box,
            on_change=_take,
            args=(key, box),
            max_upload_size=MAX_MEGABYTES,
        )
        if wrong := st.session_state.get(_wrong(key)):
            st.error(escaped(wrong), icon=":material/error:")
        return None
    st.markdown(label)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.image(kept.thumbnail, alt=label)
        with st.container(width="content"):
            st.caption(kept.size)
            st.button("Remove", key=f"{key}-remove", icon=":material/delete:", on_click=keep, args=(key, None))
    return kept.image


def keep(key: str, image: Any) -> None:
    """Put a picture into the form, from the history or another answer; None removes it. Bad ones are said there."""
    st.session_state[key], st.session_state[_wrong(key)] = None, None
    st.session_state[_count(key)] = st.session_state.get(_count(key), 0) + 1  # an upload box anew is an empty one
    if image is not None:
        try:
            st.session_state[key] = Picture.of(image)
        except TaskInputError as error:
            st.session_state[_wrong(key)] = str(error)


def _take(key: str, box: str) -> None:
    """Keep what was just uploaded. Streamlit also calls this for a box that has gone from the page."""
    file = st.session_state.get(box)
    if file is not None:
        keep(key, base64.b64encode(file.getvalue()).decode())


def _box(key: str) -> str:
    return f"{key}-file-{st.session_state.get(_count(key), 0)}"


def _count(key: str) -> str:
    return f"{key}-count"


def _wrong(key: str) -> str:
    return f"{key}-wrong"
