"""Grad-CAM laid over the picture that a network saw. No Streamlit."""

import numpy as np
from PIL import Image

from ui.pictures.drawing import Pixels, pixels_of

SHOWN = 256  # pixels, at least about so wide
STRENGTH = 0.65  # of the color where the heat is highest: the picture shines through
# From dark to light, so that it can be read without colors, too (after matplotlib's map "inferno").
HEAT_COLORS = (
    (0, (66, 10, 104)),
    (85, (147, 38, 103)),
    (150, (221, 81, 58)),
    (210, (252, 165, 10)),
    (255, (252, 255, 164)),
)


def overlaid(seen: str, heatmap: str) -> Pixels:
    """The picture enlarged in square pixels, tinted where the heat is: uint8 `(h, w, 3)`.

    Args:
        seen, heatmap: PNG in base64, as the task `image-classification` gives them.
    """
    picture = enlarged(pixels_of(seen), Image.Resampling.NEAREST).astype(np.float64)
    heat = enlarged(pixels_of(heatmap, gray=True), Image.Resampling.BILINEAR)
    weight = heat[..., None] / 255 * STRENGTH
    return ((1 - weight) * picture + weight * colored(heat)).round().astype(np.uint8)


def colored(heat: Pixels) -> np.ndarray:
    """Colors of heat from 0 to 255: `(h, w, 3)`."""
    places = [place for place, _ in HEAT_COLORS]
    return np.stack([np.interp(heat, places, [color[i] for _, color in HEAT_COLORS]) for i in range(3)], axis=-1)


def enlarged(pixels: Pixels, how: Image.Resampling = Image.Resampling.NEAREST, scale: int = 0) -> Pixels:
    """A small picture as large as it is shown, by a whole number where none is given."""
    height, width = pixels.shape[:2]
    scale = scale or max(1, SHOWN // width)
    return np.asarray(Image.fromarray(pixels).resize((width * scale, height * scale), how))
