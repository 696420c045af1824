"""Pictures that cannot be used: refused in a sentence that names the field and what is valid."""

import base64
import contextlib
import itertools
import random
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.base import TaskInputError
from tasks.images import MAX_BYTES, decode_image
from tests.support.pictures import COLOR, COLOR_PNG, GRAY, GRAY_PNG, assert_close, encoded, png

NOT_A_PICTURE = "image is not a PNG or JPEG; valid: a PNG or JPEG"


def short(value: Any) -> str:
    """A parameter as the id of a test."""
    return repr(value)[:24]


def test_chunks_that_are_cut_short_are_refused_readably_or_passed_over() -> None:
    kinds = (b"gAMA", b"sRGB", b"pHYs", b"cHRM", b"tRNS", b"IHDR", b"iCCP", b"acTL", b"fcTL")
    for kind, where, size in itertools.product(kinds, (33, -12), range(10)):  # before and behind the pixels
        cut = struct.pack(">I", size) + kind + bytes(size) + struct.pack(">I", zlib.crc32(kind + bytes(size)))
        with contextlib.suppress(TaskInputError):
            assert decode_image(COLOR_PNG[:where] + cut + COLOR_PNG[where:], 3).shape[0] == 3


@pytest.mark.parametrize("wrap", [bytes, lambda content: base64.b64encode(content).decode()], ids=["bytes", "base64"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "image is empty; valid: a PNG or JPEG"),
        (b"hello, I am a text", NOT_A_PICTURE),
        (encoded(Image.fromarray(GRAY), "GIF"), NOT_A_PICTURE),
        (encoded(Image.fromarray(GRAY), "GIF", save_all=True, append_images=[Image.new("L", (4, 3))]), NOT_A_PICTURE),
        (encoded(Image.fromarray(GRAY), "BMP"), NOT_A_PICTURE),
        (encoded(Image.fromarray(GRAY), "TIFF"), NOT_A_PICTURE),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", NOT_A_PICTURE),
        (COLOR_PNG[:8], NOT_A_PICTURE),
        (COLOR_PNG[:20], "image is damaged or truncated .*; valid: a whole PNG or JPEG"),
        (COLOR_PNG[:60], "image is damaged or truncated .*; valid: a whole PNG or JPEG"),
        (encoded(Image.fromarray(COLOR), "JPEG")[:-40], "image is damaged or truncated .*; valid: a whole PNG or"),
        (png(0, 5), NOT_A_PICTURE),
        (png(5001, 5000), "^image is 5001 x 5000 pixels; valid: at most 25 megapixels"),
        (png(10_000, 10_000), "^image is 10000 x 10000 pixels; valid: at most 25 megapixels"),
        (png(50_000, 50_000), "^image is .*; valid: at most 25 megapixels"),
        (png(2**31 - 1, 2**31 - 1), "^image is .*; valid: at most 25 megapixels"),
    ],
    ids=short,
)
def test_what_is_no_usable_picture_is_refused_readably(content: bytes, expected: str, wrap: Any) -> None:
    for channels in (1, 3):
        with pytest.raises(TaskInputError, match=expected):
            decode_image(wrap(content), channels)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "image is empty; valid: a PNG or JPEG as base64"),
        ("   \n", "image is empty; valid:"),
        ("not base64!", "image is not valid base64; valid: a PNG or JPEG as base64"),
        ("abc", "image is not valid base64; valid:"),
        ("Grüße", "image is not valid base64; valid:"),
        ("data:image/png;base64", "image is not valid base64; valid:"),
        ("data:image/png;base64,", "image is empty; valid:"),
        ("data:image/png,%89PNG", "image is not valid base64; valid:"),
        ("/etc/passwd", "image is not"),
        ("https://example.org/cat.png", "image is not valid base64; valid:"),
    ],
)
def test_text_that_is_no_picture_is_refused_readably(text: str, expected: str) -> None:
    with pytest.raises(TaskInputError, match=expected):
        decode_image(text, 1)


def test_too_many_bytes_are_refused_before_they_are_read() -> None:
    for value in (b"\0" * (MAX_BYTES + 1), "A" * (MAX_BYTES * 4 // 3 + 1000)):
        with pytest.raises(TaskInputError, match="image is larger than 20 MB"):
            decode_image(value, 1)


@pytest.mark.parametrize("value", [None, 3, 3.5, True, {"image": "x"}, object(), {1, 2}])
def test_a_wrong_type_is_refused(value: Any) -> None:
    with pytest.raises(TaskInputError, match="image is neither text nor rows of pixels; valid: a PNG or JPEG"):
        decode_image(value, 1)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [[]],
        [[], []],
        [1, 2, 3],
        [[1, 2], [3]],
        [[[1, 2, 3], [1, 2]]],
        [[[1, 2]]],
        [[[1, 2, 3, 4]]],
        [[[[1]]]],
        [[None]],
        [["a"]],
        [[{}]],
        [[1j]],
        [[float("nan")]],
        [[float("inf")]],
        [[-1]],
        [[256]],
        [[1e300]],
        [[10**400]],
        [[-(10**400)]],
        np.zeros((0, 4)),
        np.zeros((2, 3, 5)),
    ],
    ids=short,
)
def test_rows_that_are_no_picture_are_refused(rows: Any) -> None:
    for channels in (1, 3):
        with pytest.raises(TaskInputError, match=r"^image has .*(0 to 255|valid: |not numbers)"):
            decode_image(rows, channels)


@pytest.mark.parametrize(
    ("rows", "factor"),
    [
        (np.linspace(0, 1, 64).reshape(8, 8), "255"),
        (np.eye(28), "255"),
        (np.full((4, 4, 3), 0.3), "255"),
        ([[True, False]], "255"),
        (np.arange(64).reshape(8, 8) % 17, "255 / 16"),
    ],
    ids=["fractions", "zeros and ones", "color", "booleans", "scikit-learn's digits"],
)
def test_pixels_of_another_scale_are_refused_and_not_read_as_black(rows: Any, factor: str) -> None:
    with pytest.raises(TaskInputError, match=f"valid: pixels from 0 to 255 .multiply yours by {factor}.$"):
        decode_image(rows, 1)


def test_dark_pictures_are_pictures() -> None:
    assert decode_image(np.zeros((8, 8)), 1).max() == 0
    assert decode_image([[0, 2], [1, 0]], 1).max() == 2


@pytest.mark.parametrize("rows", [[["12", "7"]], [[b"5"]], np.ones((2, 2), complex)], ids=short)
def test_pixels_that_are_no_numbers_are_refused(rows: Any) -> None:
    with pytest.raises(TaskInputError, match="not numbers"):
        decode_image(rows, 1)


def test_damaged_pictures_are_decoded_or_refused_and_nothing_else() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a photo"
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8))
    good = [GRAY_PNG, COLOR_PNG, encoded(noise, exif=exif), encoded(noise, "JPEG", exif=exif), encoded(noise, "JPEG")]
    chance = random.Random(0)
    refused = 0
    for _ in range(3000):
        content = bytearray(chance.choice(good))
        for _ in range(chance.randint(1, 4)):
            content[chance.randrange(len(content))] = chance.choice((0, 255, chance.randrange(256)))
        try:
            assert decode_image(bytes(content), chance.choice((1, 3))).dtype == torch.uint8
        except TaskInputError:
            refused += 1
    assert 500 < refused < 2900


@pytest.mark.parametrize("pixels", [np.eye(28, dtype=np.uint8), np.full((8, 8), 16, np.uint8)], ids=["0..1", "0..16"])
def test_a_file_of_another_scale_is_refused_too(pixels: np.ndarray) -> None:
    with pytest.raises(TaskInputError, match="valid: pixels from 0 to 255"):
        decode_image(encoded(Image.fromarray(pixels)), 1)


def test_sixteen_bits_that_hold_eight_are_eight_and_a_little_beyond_one_is_still_refused() -> None:
    values = np.array([[0, 100], [200, 255]], np.uint16)
    assert_close(decode_image(encoded(Image.fromarray(values)), 1), values.astype(np.uint8))
    with pytest.raises(TaskInputError, match="from 0 to 1 only"):
        decode_image(np.array([[0, 1.04], [0.5, 1]]), 1)
