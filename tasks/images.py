"""Pictures from people to tensors for networks, the same way in training, serving and the UI."""

import base64
import binascii
import io
import warnings
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import ExifTags, Image, UnidentifiedImageError

from tasks.base import TaskInputError

IMAGE_SIZE = 32
MAX_BYTES = 20 * 2**20
MAX_PIXELS = 25_000_000
FORMATS = ("PNG", "JPEG")
# How to turn a picture upright, by the orientation in its EXIF data.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def to_image_size(pixels: torch.Tensor) -> torch.Tensor:
    """Bring uint8 images `(n, c, h, w)` to 32 x 32.

    28 x 28 is padded with zeros, as LeCun et al. 1998 do; other sizes are resized bilinearly (without keeping the
    ratio of the sides), so that a picture of the data set gives the very pixels that the network was trained on.
    """
    height, width = pixels.shape[-2:]
    if (height, width) == (IMAGE_SIZE, IMAGE_SIZE):
        return pixels
    if (height, width) == (28, 28):
        return F.pad(pixels, (2, 2, 2, 2))
    resized = F.interpolate(pixels.float(), (IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)


def decode_image(value: Any, channels: int) -> torch.Tensor:
    """A person's image to uint8 `(channels, height, width)`.

    Args:
        value: PNG or JPEG as base64 text (also as a data URL) or bytes, or rows of pixels from 0 to 255: numbers for
            grey, triples for colour.
        channels: 1 to get grey, 3 to get colour, whatever the picture is.

    Raises TaskInputError, naming the field `image`, for anything else, and for pictures over 20 MB or 25 megapixels.
    """
    if isinstance(value, (str, bytes)):
        picture = _open(_to_bytes(value))
        pixels = np.array(picture.convert("L" if channels == 1 else "RGB"))
    elif isinstance(value, (list, tuple, np.ndarray)):
        pixels = _from_rows(value)
    else:
        raise TaskInputError("image is neither text nor rows of pixels; valid: a PNG or JPEG as base64, or pixel rows")
    tensor = torch.from_numpy(pixels).reshape(*pixels.shape[:2], -1).permute(2, 0, 1)
    if len(tensor) == channels:
        return tensor
    if channels == 3:
        return tensor.expand(3, -1, -1)
    grey = Image.fromarray(pixels).convert("L")
    return torch.from_numpy(np.array(grey))[None]


def _to_bytes(value: str | bytes) -> bytes:
    if len(value) > (MAX_BYTES if isinstance(value, bytes) else MAX_BYTES * 4 // 3 + 100):
        raise TaskInputError(f"image is larger than {MAX_BYTES // 2**20} MB, the most that is taken")
    if isinstance(value, bytes):
        return value
    text = value.split(",", 1)[1] if value.startswith("data:") and "," in value else value
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise TaskInputError("image is not valid base64; valid: a PNG or JPEG as base64, or pixel rows") from error


def _open(content: bytes) -> Image.Image:
    """Decode a PNG or JPEG upright, the first frame of an animated one, transparent pixels on black."""
    if not content:
        raise TaskInputError("image is empty; valid: a PNG or JPEG as base64, or pixel rows")
    try:
        with warnings.catch_warnings():
            # The header's size is checked below, lower than where Pillow begins to warn; damaged EXIF data do no harm.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)
            picture = Image.open(io.BytesIO(content), formats=FORMATS)
        if picture.width * picture.height > MAX_PIXELS:
            size = f"{picture.width} x {picture.height}"
            raise TaskInputError(f"image is {size} pixels; valid: at most {MAX_PIXELS // 10**6} megapixels")
        picture.load()
    except TaskInputError:  # is a ValueError
        raise
    except UnidentifiedImageError as error:
        raise TaskInputError("image is not a PNG or JPEG; valid: a PNG or JPEG as base64, or pixel rows") from error
    except Image.DecompressionBombError as error:
        raise TaskInputError(f"image is too large; valid: at most {MAX_PIXELS // 10**6} megapixels") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise TaskInputError(f"image is damaged or truncated ({error}); valid: a whole PNG or JPEG") from error
    upright = _eight_bits(_upright(picture))
    if "A" in upright.getbands() or "transparency" in upright.info:
        layers = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layers.size, (0, 0, 0, 255)), layers)
    return upright


def _upright(picture: Image.Image) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of damaged EXIF data, which do not spoil the picture
            orientation = picture.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # Pillow's reader fails in a dozen ways
        return picture
    return picture.transpose(TURNS[orientation]) if orientation in TURNS else picture


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Grey of 16 bits scaled to 8; Pillow's own conversion cuts off at 255 and shows it white."""
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture)
    opaque = values != picture.info.get("transparency", -1)
    return Image.fromarray(np.round(values / 257 * opaque).astype(np.uint8))


def _from_rows(value: Any) -> np.ndarray:
    try:
        rows = np.asarray(value)
        if rows.dtype.kind not in "buifO":  # NumPy would read numbers out of texts and drop imaginary parts
            raise TypeError(rows.dtype)
        rows = rows.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise TaskInputError(
            "image has rows of unequal length or pixels that are not numbers; valid: rows of pixels from 0 to 255"
        ) from error
    if rows.ndim not in (2, 3) or (rows.ndim == 3 and rows.shape[2] not in (1, 3)) or 0 in rows.shape:
        raise TaskInputError(f"image has shape {rows.shape}; valid: (height, width) grey or (height, width, 3) colour")
    if rows.shape[0] * rows.shape[1] > MAX_PIXELS:
        raise TaskInputError(f"image has too many pixels; valid: at most {MAX_PIXELS // 10**6} megapixels")
    if not np.isfinite(rows).all() or rows.min() < 0 or rows.max() > 255:
        raise TaskInputError("image has pixels outside 0 to 255")
    pixels = np.round(rows).astype(np.uint8)
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
