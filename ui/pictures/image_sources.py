"""The picture of the image page, drawn, chosen or uploaded; each network gets it in the frame that it knows."""

from dataclasses import dataclass

import numpy as np
import streamlit as st

from tasks.base import TaskInputError
from ui.pictures.canvas import draw_canvas
from ui.pictures.drawing import AS_IT_IS, Pixels, framed, ink, light_on_black, pixels_of, png
from ui.pictures.heatmaps import enlarged
from ui.pictures.picture_input import draw_picture_input

DRAW, EXAMPLE, UPLOAD = "Draw", "Example", "Upload"
KEY = "image"


@dataclass(frozen=True)
class Given:
    """A picture to classify.

    Attributes:
        image: PNG or JPEG in base64.
        digit: the same as a digit, light on black, to be framed for each network; None where it stays as it is.
        own: the data set that the picture is taken from: its networks get it as it is.
        label: what it shows, where that is known.
    """

    image: str
    digit: Pixels | None = None
    own: str = ""
    label: str | None = None

    def for_networks_of(self, dataset: str) -> tuple[str, str]:
        """The picture in base64 as a network trained on this data set gets it, and a note of what was done to it."""
        if self.digit is None or dataset == self.own:
            return self.image, AS_IT_IS
        pixels, words = framed(self.digit, dataset)
        return png(pixels), words


def choose_picture() -> Given | None:
    """Draw the ways to a picture, and the one that is chosen. None while there is no picture."""
    way = st.segmented_control(
        "Picture",
        [DRAW, EXAMPLE, UPLOAD],
        default=DRAW,
        required=True,
        wrap=True,
        key=f"{KEY}-way",
        persist_state="session",
    )
    return {DRAW: drawn, EXAMPLE: example, UPLOAD: uploaded}[way or DRAW]()


def drawn() -> Given | None:
    """A digit drawn on the canvas."""
    picture = draw_canvas(f"{KEY}-canvas")
    st.caption("Draw with the mouse, a finger or a pen. With the keyboard, choose an example or upload a picture.")
    if picture is None:
        return None
    try:
        digit = pixels_of(picture, gray=True)
    except TaskInputError:  # no browser of ours sends such a thing
        return None
    return Given(picture, digit) if ink(digit).any() else None


def example() -> Given:
    """A digit of the data set that scikit-learn brings along."""
    images, labels = digits()
    wanted = st.pills("Digit", list(range(10)), default=3, required=True, key=f"{KEY}-digit", persist_state="session")
    places = np.flatnonzero(labels == (wanted or 0))
    turn = st.session_state.get(f"{KEY}-turn", 0) % len(places)
    pixels = images[places[turn]]
    with st.container(horizontal=True, vertical_alignment="center"):
        st.image(enlarged(pixels, scale=20), alt=f"Handwritten digit {wanted}")
        st.button("Another one", key=f"{KEY}-another", icon=":material/refresh:", on_click=_turn)
    st.caption(
        "From the 1,797 handwritten digits that come with scikit-learn, 8 x 8 pixels each. Networks of the data set "
        "digits may have seen it in their training."
    )
    return Given(png(pixels), pixels, "digits", str(wanted))


def uploaded() -> Given | None:
    """A picture from a file."""
    image = draw_picture_input("PNG or JPEG, up to 20 MB", f"{KEY}-file")
    is_digit = st.toggle(
        "It shows one handwritten digit",
        key=f"{KEY}-is-digit",
        persist_state="session",
        help="Then it is made white on black, and framed as the data sets frame their digits.",
    )
    if image is None:
        return None
    if not is_digit:
        return Given(image)
    digit = light_on_black(pixels_of(image, gray=True))
    if not ink(digit).any():
        st.warning("Nothing stands out in this picture, so it is sent as it is.", icon=":material/contrast:")
        return Given(image)
    return Given(image, digit)


@st.cache_data(show_spinner=False)
def digits() -> tuple[np.ndarray, np.ndarray]:
    """All digits of scikit-learn: uint8 `(n, 8, 8)`, and what they are."""
    from sklearn.datasets import load_digits

    rows, labels = load_digits(return_X_y=True)
    return np.round(np.asarray(rows).reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8), np.asarray(labels)


def _turn() -> None:
    st.session_state[f"{KEY}-turn"] = st.session_state.get(f"{KEY}-turn", 0) + 1
