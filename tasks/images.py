"""Users' pictures to tensors for networks, the same way in training, serving and the UI."""

from __future__ import annotations

import base64
import binascii
import io
import string
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

from tasks.base import Cancel, TaskInputError, TaskStopped, first_line, naming_row, never, stop_if
from tasks.pixel_rows import VALID_SIZE, check_scale, check_size, from_rows, size_of_rows

if TYPE_CHECKING:
    import torch

IMAGE_SIZE = 32
MAX_BYTES = 20 * 2**20
MAX_REQUEST_PIXELS = 100_000_000  # of all images of a request
BLOCK = 1024  # bytes between two looks at `cancel`: packed as tightly as PNG can, they are a megapixel
FORMATS = ("PNG", "JPEG")
BLACK, WHITE = (0, 0, 0, 255), (255, 255, 255, 255)
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


def to_image_size(pixels: torch.Tensor, size: int = IMAGE_SIZE) -> torch.Tensor:
    """Bring uint8 images `(n, c, h, w)` to `size` x `size`.

    28 x 28 is padded with zeros to 32 x 32, as LeCun et al. 1998 do; other sizes are resized bilinearly (without
    keeping the ratio of the sides), so that a picture of the data set gives the very pixels that the network was
    trained on.
    """
    import torch.nn.functional as F

    height, width = pixels.shape[-2:]
    if (height, width) == (size, size):
        return pixels
    if is_padded(height, width, size):
        return F.pad(pixels, (2, 2, 2, 2))
    resized = F.interpolate(pixels.float(), (size, size), mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(pixels.dtype)


def is_padded(height: int, width: int, size: int) -> bool:
    """Whether an image is padded to `size`, not resized."""
    return (height, width, size) == (28, 28, IMAGE_SIZE)


def open_reduced(content: bytes, side: int) -> tuple[Image.Image, tuple[int, int]]:
    """A picture for a data set, upright and without transparency, and the width and height of its file.

    A JPEG is decoded to no less than `side` on each side, but to little more: scaled within the discrete cosine
    transform, which takes a fraction of the time.

    Raises TaskInputError as `decode_image` does.
    """
    with _readable():
        picture = _identify(_to_bytes(content), never)
        measures = picture.size
        picture.draft(None, (side, side))  # pyright: ignore[reportArgumentType]
        return _open(picture, never, light_on_dark=False), measures


def check_images(images: Sequence[Any], cancel: Cancel) -> None:
    """Refuse images with too many pixels, each or all together, by what their headers say: none is decoded.

    Args: images: of all rows, None for a row without one.

    Raises TaskInputError, which names the row of one that is too large; TaskStopped when `cancel` turns true.
    """
    pixels = 0
    for number, image in enumerate(images, 1):
        if image is None:
            continue
        stop_if(cancel)
        with naming_row(number, len(images)):
            width, height = _size(image, cancel)
        pixels += width * height
        if pixels > MAX_REQUEST_PIXELS:
            most = f"{MAX_REQUEST_PIXELS // 10**6} megapixels"
            raise TaskInputError(f"the images have more than {most} together; valid: at most {most} a request")


def decode_image(value: Any, channels: int, cancel: Cancel = never, light_on_dark: bool = False) -> torch.Tensor:
    """A user's image to uint8 `(channels, height, width)`.

    Args:
        value: PNG or JPEG as base64 text (also as a data URL) or bytes, or rows of pixels from 0 to 255: numbers for
            gray, triples for color.
        channels: 1 to get gray, 3 to get color, whatever the picture is.
        light_on_dark: what is dark in a picture with transparent parts is shown light on black, not dark on white.

    Raises TaskInputError, naming the field `image`, for anything else, and for pictures over 20 MB, 25 megapixels or
    16,384 pixels a side; TaskStopped when `cancel`, which is looked at every megapixel or so, turns true.
    """
    import torch

    if _is_file(value):
        with _readable():
            file = _identify(_to_bytes(value), cancel)
            picture = _open(file, cancel, light_on_dark).convert("L" if channels == 1 else "RGB")
        stop_if(cancel)
        pixels = np.array(picture)
        check_scale(pixels.max(), pixels.shape)
    else:
        pixels = from_rows(value, cancel)
    stop_if(cancel)
    tensor = torch.from_numpy(pixels).reshape(*pixels.shape[:2], -1).permute(2, 0, 1)
    if len(tensor) == channels:
        return tensor
    if channels == 3:
        return tensor.expand(3, -1, -1)
    gray = Image.fromarray(pixels).convert("L")
    return torch.from_numpy(np.array(gray))[None]


def _is_file(value: Any) -> bool:
    if isinstance(value, (str, bytes)):
        return True
    if isinstance(value, (list, tuple, np.ndarray)):
        return False
    raise TaskInputError("image is neither text nor rows of pixels; valid: a PNG or JPEG as base64, or pixel rows")


def _size(value: Any, cancel: Cancel) -> tuple[int, int]:
    """The width and height that an image says it has. Raises TaskInputError where one is too large."""
    if _is_file(value):
        with _readable():
            return _identify(_to_bytes(value), cancel).size
    return size_of_rows(value)


def _to_bytes(value: str | bytes) -> bytes:
    if len(value) > (MAX_BYTES if isinstance(value, bytes) else MAX_BYTES * 4 // 3 + 100):
        raise TaskInputError(f"image is larger than {MAX_BYTES // 2**20} MB, the most that is taken")
    if isinstance(value, bytes):
        return value
    text = value.split(",", 1)[1] if value.startswith("data:") and "," in value else value
    try:
        # Not `text.split()`: a space after each letter would make twenty million strings.
        packed = text.encode("ascii").translate(None, string.whitespace.encode())
        return base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError) as error:
        raise TaskInputError("image is not valid base64; valid: a PNG or JPEG as base64, or pixel rows") from error


class _Source(io.BytesIO):
    """The bytes of a file. Pillow reads on in them all along header and pixels, and is stopped by TaskStopped there."""

    def __init__(self, content: bytes, cancel: Cancel) -> None:
        super().__init__(content)
        self._cancel = cancel

    def read(self, size: int | None = -1, /) -> bytes:
        stop_if(self._cancel)
        return super().read(size)


@contextmanager
def _readable() -> Iterator[None]:
    """What Pillow raises on bad files, as TaskInputError."""
    try:
        with warnings.catch_warnings():
            # The header's size is checked, lower than where Pillow begins to warn; damaged EXIF data do no harm.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.simplefilter("ignore", UserWarning)
            yield
    except (TaskInputError, TaskStopped, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise TaskInputError("image is not a PNG or JPEG; valid: a PNG or JPEG as base64, or pixel rows") from error
    except Image.DecompressionBombError as error:
        raise TaskInputError(f"image is too large; valid: {VALID_SIZE}") from error
    except Exception as error:  # Pillow's readers fail in a dozen ways
        text = f"image is damaged or truncated ({first_line(error)}); valid: a whole PNG or JPEG"
        raise TaskInputError(text) from error


def _identify(content: bytes, cancel: Cancel) -> ImageFile.ImageFile:
    """A file whose header has been read, and nothing else."""
    if not content:
        raise TaskInputError("image is empty; valid: a PNG or JPEG as base64, or pixel rows")
    picture = Image.open(_Source(content, cancel), formats=FORMATS)
    check_size(*picture.size)
    return picture


def _open(picture: ImageFile.ImageFile, cancel: Cancel, light_on_dark: bool) -> Image.Image:
    """Decode a file upright, the first frame of an animated one, transparent pixels on black or white."""
    picture.decodermaxblock = BLOCK
    picture.load()
    upright = _upright(picture)
    stop_if(cancel)
    upright = _eight_bits(upright)
    stop_if(cancel)
    if "A" in upright.getbands() or "transparency" in upright.info:
        layers = upright.convert("RGBA")
        ground = _ground(layers)
        upright = Image.alpha_composite(Image.new("RGBA", layers.size, ground), layers)
        if light_on_dark and ground == WHITE:
            upright = ImageOps.invert(upright.convert("RGB"))
        stop_if(cancel)
    return upright


def _ground(layers: Image.Image) -> tuple[int, int, int, int]:
    """Black or white, whichever shows more of what is not transparent."""
    small = layers.resize((64, 64), Image.Resampling.BOX)
    gray, opacity = np.asarray(small.convert("L")), np.asarray(small.getchannel("A"))
    dark = opacity.any() and np.average(gray, weights=opacity) < 128
    return WHITE if dark else BLACK


def _upright(picture: Image.Image) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of damaged EXIF data, which do not spoil the picture
            orientation = picture.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # Pillow's reader fails in a dozen ways
        return picture
    return picture.transpose(TURNS[orientation]) if orientation in TURNS else picture


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Gray of 16 bits scaled to 8; Pillow's own conversion cuts off at 255 and shows it white."""
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture)
    opaque = values != picture.info.get("transparency", -1)
    if 1 < (values * opaque).max() <= 255:  # it holds 8 bits, as a file written from an array of integers does
        return Image.fromarray((values * opaque).astype(np.uint8))
    return Image.fromarray(((values.astype(np.uint32) * opaque + 128) // 257).astype(np.uint8))  # rounded
