"""Pictures as rows of numbers, which clients send as JSON; and the sizes and scales that any picture may have."""

from typing import Any

import numpy as np

from tasks.base import Cancel, TaskInputError, stop_if

MAX_PIXELS = 25_000_000
MAX_SIDE = 16_384  # resizing one side first makes much of a picture that is all length
VALID_SIZE = f"at most {MAX_PIXELS // 10**6} megapixels, and {MAX_SIDE} a side"
STRIP = 16  # rows between two looks at `cancel`


def check_size(width: int, height: int) -> None:
    """Refuse a picture that is too large."""
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE:
        raise TaskInputError(f"image is {width} x {height} pixels; valid: {VALID_SIZE}")


def size_of_rows(value: Any) -> tuple[int, int]:
    """The width and height of rows of pixels, by their outside. Raises TaskInputError where one is too large."""
    width, height = (*value.shape, 0, 0)[1::-1] if isinstance(value, np.ndarray) else _size_of_lists(value)
    check_size(width, height)
    return width, height


def _size_of_lists(value: Any) -> tuple[int, int]:
    rows = [row for row in value if isinstance(row, (list, tuple))]
    pixels = [pixel for row in rows for pixel in row[:1] if isinstance(pixel, (list, tuple))]
    if any(len(pixel) > 3 or isinstance(number, (list, tuple)) for pixel in pixels for number in pixel[:1]):
        raise TaskInputError("image has pixels of more than 3 numbers; valid: (height, width) gray or (..., 3) color")
    return max(map(len, rows), default=0), len(value)


def from_rows(value: Any, cancel: Cancel) -> np.ndarray:
    """Rows of numbers, or of triples, as uint8 `(h, w)` or `(h, w, 3)`. Raises TaskInputError; TaskStopped."""
    size_of_rows(value)
    try:
        strips = range(0, len(value) or 1, STRIP)
        rows, highest = zip(
            *(_strip(value[start : start + STRIP], len(value), cancel) for start in strips), strict=True
        )
        pixels = np.concatenate(rows)
    except TaskInputError:  # is a ValueError
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise TaskInputError(
            "image has rows of unequal length or pixels that are not numbers; valid: rows of pixels from 0 to 255"
        ) from error
    check_size(pixels.shape[1], pixels.shape[0])
    check_scale(max(highest), pixels.shape)
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels


def check_scale(highest: float, shape: tuple[int, ...]) -> None:
    """Refuse pixels that are not meant from 0 to 255: they would be seen as black."""
    if 0 < highest < 1.1:  # resizing goes a little beyond 1
        raise TaskInputError("image has pixels from 0 to 1 only; valid: pixels from 0 to 255 (multiply yours by 255)")
    if 0 < highest <= 16 and shape[:2] == (8, 8):  # the scale of scikit-learn's digits
        raise TaskInputError("image has pixels from 0 to 16; valid: pixels from 0 to 255 (multiply yours by 255 / 16)")


def _strip(value: Any, height: int, cancel: Cancel) -> tuple[np.ndarray, float]:
    """Some rows of an image of `height` rows, and the highest number in them as it was given."""
    stop_if(cancel)
    rows = np.asarray(value)
    if rows.dtype.kind not in "buifO":  # NumPy would read numbers out of texts and drop imaginary parts
        raise TypeError(rows.dtype)
    rows = rows.astype(np.float64)
    if rows.ndim not in (2, 3) or (rows.ndim == 3 and rows.shape[2] not in (1, 3)) or 0 in rows.shape:
        shape = (height, *rows.shape[1:])
        raise TaskInputError(f"image has shape {shape}; valid: (height, width) gray or (height, width, 3) color")
    if not np.isfinite(rows).all() or rows.min() < 0 or rows.max() > 255:
        raise TaskInputError("image has pixels outside 0 to 255; valid: numbers from 0 to 255")
    return np.round(rows).astype(np.uint8), float(rows.max())
