"""Drawn and written digits, framed as the data sets frame theirs; and pictures of what networks saw. No Streamlit.

A network knows digits only as its data set shows them: white on black, of one size, at one place. A drawing that is not
brought into that frame is another kind of picture to it, however readable.
"""

import base64
import io

import numpy as np
from PIL import Image

Pixels = np.ndarray  # uint8, (h, w) or (h, w, 3)
MNIST_SIDE, MNIST_BOX = 28, 20
DIGITS_SIDE, DIGITS_BLOCK, DIGITS_WIDTH = 8, 4, 24
PAPER = 0.3  # of the darkest ink of a photograph: fainter ones are shadows and grain of the paper
INK = 0.1  # of the brightest pixel: fainter ones are blur at the edge of a stroke

# How a digit is framed for the networks of a data set, for the page.
FRAMES = {
    "mnist": "scaled into a box of 20 x 20 pixels and placed in 28 x 28 by its center of mass, as in MNIST",
    "digits": "scaled to the full height and reduced to 8 x 8 pixels, as in the digits of scikit-learn",
    "fashion_mnist": "scaled and centered in 28 x 28 pixels, as in Fashion-MNIST",
}
AS_IT_IS = "as it is"


def framed(digit: Pixels, dataset: str) -> tuple[Pixels, str]:
    """A digit as the networks of a data set know theirs, and a description of what was done.

    Args:
        digit: gray uint8 `(h, w)`, light on black.
        dataset: a contract name; for one without a known frame the picture stays as it is.
    """
    if dataset not in FRAMES or not ink(digit).any():
        return digit, AS_IT_IS
    frame = {"mnist": mnist_frame, "digits": digits_frame, "fashion_mnist": fashion_frame}[dataset]
    return frame(digit), FRAMES[dataset]


def mnist_frame(digit: Pixels) -> Pixels:
    """28 x 28: the longer side scaled to 20, the center of mass in the middle (LeCun et al. 1998, section III.A).

    Of 800 digits of MNIST's test set, enlarged as drawings, a LeNet-5 recognized 97 % in this frame, as the originals,
    and 46 % unframed.
    """
    small = fitted(digit, MNIST_BOX)
    total = small.sum(dtype=np.float64)
    rows, columns = (
        (small.sum(axis=1 - axis, dtype=np.float64) * np.arange(length)).sum() / total
        for axis, length in enumerate(small.shape)
    )
    return placed(small, MNIST_SIDE, MNIST_SIDE, (MNIST_SIDE - 1) / 2 - rows, (MNIST_SIDE - 1) / 2 - columns)


def digits_frame(digit: Pixels) -> Pixels:
    """8 x 8: full height of a bitmap of 32 x 32, of which each block of 4 x 4 becomes a pixel (Alpaydin and Kaynak,
    "Optical recognition of handwritten digits", UCI repository, 1998). Hardly any is wider than 6 of the 8 pixels.

    Of 800 digits of MNIST's test set a LeNet-5 trained on these recognized 74 % in this frame, 22 % in MNIST's and 12 %
    unframed: their bitmaps are of black and white, so that any pixel of a stroke counts in full.
    """
    side = DIGITS_SIDE * DIGITS_BLOCK
    cut = trimmed(digit)
    width = min(DIGITS_WIDTH, max(1, round(cut.shape[1] * side / cut.shape[0])))
    bitmap = placed(ink(resized(cut, side, width)) * np.uint8(255), side, side, 0, (side - width) / 2)
    blocks = bitmap.reshape(DIGITS_SIDE, DIGITS_BLOCK, DIGITS_SIDE, DIGITS_BLOCK)
    return blocks.mean(axis=(1, 3)).round().astype(np.uint8)


def fashion_frame(digit: Pixels) -> Pixels:
    """28 x 28: the longer side scaled to 28, the other one centered (Xiao et al., "Fashion-MNIST", 2017, section 2)."""
    small = fitted(digit, MNIST_SIDE)
    height, width = small.shape
    return placed(small, MNIST_SIDE, MNIST_SIDE, (MNIST_SIDE - height) / 2, (MNIST_SIDE - width) / 2)


def ink(digit: Pixels) -> np.ndarray:
    """Which pixels belong to the digit."""
    return digit > INK * max(int(digit.max(initial=0)), 1)


def trimmed(digit: Pixels) -> Pixels:
    """The digit without its margins."""
    rows, columns = (np.flatnonzero(ink(digit).any(axis=axis)) for axis in (1, 0))
    return digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def fitted(digit: Pixels, side: int) -> Pixels:
    """The digit without its margins, its longer side scaled; the sides keep their ratio."""
    cut = trimmed(digit)
    scale = side / max(cut.shape)
    return resized(cut, *(max(1, round(length * scale)) for length in cut.shape))


def resized(picture: Pixels, height: int, width: int) -> Pixels:
    """Scaled with smooth edges."""
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BICUBIC))


def placed(small: Pixels, height: int, width: int, top: float, left: float) -> Pixels:
    """A picture on black, its upper left corner at a place, moved inside where it would stick out."""
    frame = np.zeros((height, width), np.uint8)
    row = min(max(round(top), 0), height - small.shape[0])
    column = min(max(round(left), 0), width - small.shape[1])
    frame[row : row + small.shape[0], column : column + small.shape[1]] = small
    return frame


def light_on_black(gray: Pixels) -> Pixels:
    """A photograph or scan of a digit as white on black: inverted where the page is light, the page made black.

    Args:
        gray: uint8 `(h, w)`; what most of its border shows is the page.
    """
    page = float(np.median(np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])))
    values = gray.astype(np.float64)
    strength = (page - values if page > 127 else values - page).clip(0)
    strength = strength / max(float(strength.max()), 1.0)
    strength[strength < PAPER] = 0
    return (strength * 255).round().astype(np.uint8)


def png(pixels: Pixels) -> str:
    """Pixels as a PNG in base64, which the task takes."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def pixels_of(picture: str, *, gray: bool = False) -> Pixels:
    """A PNG or JPEG in base64 (also as a data URL) as pixels. Raises TaskInputError for what the task would refuse."""
    from tasks.images import decode_image  # which loads torch: not for a page that only offers the canvas

    pixels = decode_image(picture, 1 if gray else 3).permute(1, 2, 0).numpy()
    return pixels[..., 0] if gray else np.ascontiguousarray(pixels)
