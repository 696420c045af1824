"""Pictures from people: decoded to the right pixels, or refused with the field's name and what is valid."""

import base64
import io
import struct
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tasks.images import IMAGE_SIZE, decode_image, to_image_size
from tests.support.pictures import COLOR, COLOR_PNG, GRAY, GRAY_PNG, assert_close, encoded, gray_of


@pytest.mark.parametrize(
    "wrap",
    [
        lambda content: content,
        lambda content: base64.b64encode(content).decode(),
        lambda content: base64.encodebytes(content).decode(),  # with line breaks
        lambda content: "data:image/png;base64," + base64.b64encode(content).decode(),
        lambda content: "  " + base64.b64encode(content).decode() + "\r\n",
    ],
    ids=["bytes", "base64", "lines", "data URL", "spaces"],
)
def test_a_png_is_decoded_exactly_however_it_is_sent(wrap: Any) -> None:
    assert_close(decode_image(wrap(GRAY_PNG), 1), GRAY)
    assert_close(decode_image(wrap(COLOR_PNG), 3), COLOR)


def test_pixel_rows_are_taken_as_they_are() -> None:
    for rows in (GRAY.tolist(), GRAY, GRAY.astype(float), GRAY[..., None].tolist(), tuple(map(tuple, GRAY.tolist()))):
        assert_close(decode_image(rows, 1), GRAY)
    assert_close(decode_image(COLOR.tolist(), 3), COLOR)
    assert_close(decode_image([[0.4, 254.6]], 1), np.array([[0, 255]]))


@pytest.mark.parametrize(("as_gray", "as_color"), [(GRAY_PNG, COLOR_PNG), (GRAY.tolist(), COLOR.tolist())])
def test_gray_becomes_color_and_color_gray(as_gray: Any, as_color: Any) -> None:
    assert_close(decode_image(as_gray, 3), np.stack([GRAY] * 3, axis=2))
    assert_close(decode_image(as_color, 1), gray_of(COLOR), 1)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_jpegs_of_all_kinds_are_decoded_closely(mode: str) -> None:
    flat = np.full((16, 16, 3), (200, 60, 30), np.uint8) if mode != "L" else np.full((16, 16), 90, np.uint8)
    content = encoded(Image.fromarray(flat).convert(mode), "JPEG", quality=95)
    expected = np.full((16, 16), 90.0) if mode == "L" else gray_of(flat)
    assert_close(decode_image(content, 1), expected, 3)
    assert_close(decode_image(content, 3), flat if mode != "L" else np.stack([flat] * 3, axis=2), 4)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA"])
def test_pngs_of_all_modes_are_decoded(mode: str) -> None:
    black_and_white = np.array([[0, 255], [255, 0]], np.uint8)
    content = encoded(Image.fromarray(black_and_white).convert("RGB" if mode == "P" else "L").convert(mode))
    assert_close(decode_image(content, 1), black_and_white)
    assert_close(decode_image(content, 3), np.stack([black_and_white] * 3, axis=2))


@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_a_pixel_are_scaled_and_not_cut_off(channels: int) -> None:
    values = np.array([[0, 255, 256, 5000], [20_000, 32_768, 50_000, 65_535]], np.uint16)
    expected = np.stack([values / 257] * channels, axis=2)
    assert_close(decode_image(encoded(Image.fromarray(values)), channels), expected, 1)


@pytest.mark.parametrize("ground", [0, 255])
def test_transparent_pixels_lie_on_the_ground_that_shows_the_picture(ground: int) -> None:
    color = COLOR // 2 + (128 if ground == 0 else 0)
    opacity = np.array([[0, 255, 128, 255]] * 3, np.uint8)[..., None]
    expected = color * (opacity / 255) + ground * (1 - opacity / 255)
    content = encoded(Image.fromarray(np.dstack([color, opacity])))
    assert_close(decode_image(content, 3), expected, 1)
    assert_close(decode_image(content, 1), gray_of(expected), 2)


def test_thin_black_strokes_on_transparency_are_seen() -> None:
    strokes = np.zeros((400, 300, 4), np.uint8)
    strokes[50:350, 148:151, 3] = 255
    assert_close(decode_image(encoded(Image.fromarray(strokes)), 1), 255 - strokes[..., 3])


def test_a_color_that_is_declared_transparent_is_transparent() -> None:
    content = encoded(Image.fromarray(GRAY), transparency=int(GRAY[2, 3]))
    expected = GRAY.copy()
    expected[2, 3] = 255
    assert_close(decode_image(content, 1), expected)
    palette = Image.fromarray(COLOR).convert("P")
    assert decode_image(encoded(palette, transparency=bytes(256)), 3).max() == 0


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_upright(orientation: int, kind: str) -> None:
    stored = np.zeros((16, 32), np.uint8)
    stored[:8, :16] = 200  # bright at the top left
    turned = {
        1: stored,
        2: np.fliplr(stored),
        3: np.rot90(stored, 2),
        4: np.flipud(stored),
        5: stored.T,
        6: np.rot90(stored, -1),
        7: np.rot90(stored, 2).T,
        8: np.rot90(stored),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(stored), kind, exif=exif)
    assert_close(decode_image(content, 1), turned[orientation], 0 if kind == "PNG" else 6)


def tiff(*entries: tuple[int, int, int, bytes]) -> bytes:
    """EXIF data by hand: (tag, type, count, four bytes) each."""
    body = b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + bytes(4)


ON_ITS_SIDE = (0x0112, 3, 1, b"\x06\0\0\0")
BROKEN_EXIF = {
    "empty": b"",
    "no TIFF": b"\x1aM\0*\0\0\0\x08",
    "far offset": b"II*\0\xff\xff\xff\xff",
    "cut off": b"MM\0*\0\0\0\x08\xff\xff",
    "orientation 99": tiff((0x0112, 3, 1, b"\x63\0\0\0")),
    "orientation as text": tiff((0x0112, 2, 4, b"up!\0")),
    "many orientations": tiff((0x0112, 3, 2, b"\x06\0\x03\0")),
}


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("exif", BROKEN_EXIF.values(), ids=BROKEN_EXIF)
def test_broken_exif_does_not_spoil_a_good_picture(exif: bytes, kind: str) -> None:
    flat = np.full((16, 8), 90, np.uint8)
    content = encoded(Image.fromarray(flat), kind, exif=b"Exif\0\0" + exif)
    decoded = decode_image(content, 1)
    assert set(decoded.shape[1:]) == {16, 8}
    assert (decoded.double() - 90).abs().max() <= 3


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize(
    "damaged",
    [(0x011A, 2, 4, b"wide"), (0x0100, 2, 4, b"wide"), (0x8769, 2, 4, b"wide"), (0x8825, 4, 1, b"\xff\xff\xff\xff")],
    ids=["resolution", "width", "sub-folder", "place"],
)
def test_a_photo_is_turned_upright_though_other_exif_data_are_damaged(
    damaged: tuple[int, int, int, bytes], kind: str
) -> None:
    exif = b"Exif\0\0" + tiff(*sorted((ON_ITS_SIDE, damaged)))
    content = encoded(Image.fromarray(np.full((16, 8), 90, np.uint8)), kind, exif=exif)
    assert tuple(decode_image(content, 1).shape) == (1, 8, 16)


def test_the_first_frame_of_an_animated_png_counts() -> None:
    frames = [Image.fromarray(frame) for frame in (COLOR, COLOR[::-1].copy(), 255 - COLOR)]
    content = encoded(frames[0], save_all=True, append_images=frames[1:])
    with Image.open(io.BytesIO(content)) as picture:
        assert getattr(picture, "n_frames", 1) == 3
    assert_close(decode_image(content, 3), COLOR)


@pytest.mark.parametrize("channels", [1, 3])
def test_28_pixels_get_a_border_and_32_stay(channels: int) -> None:
    images = torch.randint(0, 256, (5, channels, 28, 28), dtype=torch.uint8)
    padded = to_image_size(images)
    assert torch.equal(padded[:, :, 2:30, 2:30], images)
    assert padded.long().sum() == images.long().sum()
    assert torch.equal(to_image_size(padded), padded)


@pytest.mark.parametrize("size", [(8, 8), (1, 1), (64, 64), (100, 7), (33, 31)])
def test_other_sizes_are_resized_within_the_range_of_their_pixels(size: tuple[int, int]) -> None:
    images = torch.randint(40, 200, (3, 3, *size), dtype=torch.uint8)
    resized = to_image_size(images)
    assert resized.shape == (3, 3, IMAGE_SIZE, IMAGE_SIZE)
    assert resized.dtype == torch.uint8
    assert images.min() <= resized.min() <= resized.max() <= images.max()
    flat = torch.full((1, 1, *size), 77, dtype=torch.uint8)
    assert torch.all(to_image_size(flat) == 77)


@pytest.mark.parametrize("size", [8, 28, 32, 50])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_of_a_data_set_gives_the_pixels_that_the_network_was_trained_on(size: int, channels: int) -> None:
    arrays = np.random.default_rng(0).integers(0, 256, (20, size, size, channels), dtype=np.uint8)
    trained_on = to_image_size(torch.from_numpy(arrays).permute(0, 3, 1, 2))
    for array, expected in zip(arrays, trained_on, strict=True):
        sent = encoded(Image.fromarray(array[..., 0] if channels == 1 else array))
        assert torch.equal(to_image_size(decode_image(sent, channels)[None])[0], expected)
