"""Digits in the frame of their data set, and heat on pictures."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from tasks.base import TaskInputError
from tasks.images import decode_image
from ui.pictures.drawing import (
    AS_IT_IS,
    digits_frame,
    fashion_frame,
    framed,
    light_on_black,
    mnist_frame,
    pixels_of,
    png,
)
from ui.pictures.heatmaps import SHOWN, overlaid


def stroke(side: int, rows: slice, columns: slice) -> np.ndarray:
    """A white bar on a black square."""
    pixels = np.zeros((side, side), np.uint8)
    pixels[rows, columns] = 255
    return pixels


def extent(pixels: np.ndarray) -> tuple[int, int]:
    """Height and width of what is not black."""
    rows, columns = np.nonzero(pixels > 25)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def center_of_mass(pixels: np.ndarray) -> tuple[float, float]:
    rows, columns = np.indices(pixels.shape)
    return float((rows * pixels).sum() / pixels.sum()), float((columns * pixels).sum() / pixels.sum())


# An L, whose center of mass is not the middle of its box.
LETTER = np.maximum(stroke(280, slice(10, 210), slice(20, 50)), stroke(280, slice(180, 210), slice(20, 130)))


def test_mnist_frame_is_a_box_of_20_around_the_center_of_mass() -> None:
    frame = mnist_frame(LETTER)
    assert frame.shape == (28, 28) and frame.dtype == np.uint8
    assert extent(frame) == (20, 11)  # the sides keep their ratio
    assert center_of_mass(frame) == pytest.approx((13.5, 13.5), abs=0.51)


@pytest.mark.parametrize("shift", [(0, 0), (60, 140), (30, 7)])
def test_where_a_digit_was_drawn_makes_no_difference(shift: tuple[int, int]) -> None:
    moved = np.roll(LETTER, shift, axis=(0, 1))
    for frame in (mnist_frame, digits_frame, fashion_frame):
        assert np.array_equal(frame(moved), frame(LETTER))


def test_digits_frame_fills_the_height_and_keeps_its_sides_free() -> None:
    frame = digits_frame(stroke(280, slice(100, 160), slice(20, 260)))
    assert frame.shape == (8, 8)
    assert frame.min() == 0 and frame.max() == 255
    assert extent(frame) == (8, 6)
    assert frame[:, 0].max() == frame[:, 7].max() == 0


def test_fashion_frame_fills_the_longer_side() -> None:
    frame = fashion_frame(stroke(100, slice(10, 90), slice(30, 50)))
    assert frame.shape == (28, 28) and extent(frame) == (28, 7)


def test_digits_of_mnists_own_frame_stay_where_they_are() -> None:
    own = mnist_frame(LETTER)
    assert np.abs(mnist_frame(own).astype(int) - own).mean() < 8


@pytest.mark.parametrize(
    ("dataset", "size"), [("mnist", (28, 28)), ("digits", (8, 8)), ("fashion_mnist", (28, 28)), ("cifar10", (280, 280))]
)
def test_each_data_set_has_its_frame_and_says_it(dataset: str, size: tuple[int, int]) -> None:
    pixels, words = framed(LETTER, dataset)
    assert pixels.shape == size
    assert (words == AS_IT_IS) == (dataset == "cifar10")


def test_a_blank_picture_has_no_frame_and_does_no_harm() -> None:
    blank = np.zeros((50, 50), np.uint8)
    assert framed(blank, "mnist")[1] == AS_IT_IS
    assert light_on_black(np.full((9, 9), 200, np.uint8)).max() == 0


def test_a_single_point_is_framed() -> None:
    for frame in (mnist_frame, digits_frame, fashion_frame):
        assert frame(stroke(280, slice(3, 4), slice(270, 271))).max() > 0


@pytest.mark.parametrize("page_is_light", [True, False])
def test_a_photograph_becomes_light_on_black(page_is_light: bool) -> None:
    page, pen = (210, 40) if page_is_light else (30, 230)
    photo = np.where(LETTER > 0, pen, page).astype(np.uint8)
    photo[::7, ::5] = page - 12  # grain of the paper
    photo = np.where(LETTER > 0, np.uint8(pen), photo)
    assert np.array_equal(light_on_black(photo), LETTER)


def test_pixels_survive_the_way_to_the_task_and_back() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)
    assert np.array_equal(pixels_of(png(pixels)), pixels)
    assert np.array_equal(pixels_of("data:image/png;base64," + png(LETTER), gray=True), LETTER)
    assert np.array_equal(decode_image(png(LETTER), 1)[0].numpy(), LETTER)
    with pytest.raises(TaskInputError, match="not a PNG or JPEG"):
        pixels_of(base64.b64encode(b"<script>alert(1)</script>").decode())


def test_heat_tints_the_picture_where_it_is_and_nowhere_else() -> None:
    seen = np.full((32, 32), 120, np.uint8)
    heat = np.zeros((32, 32), np.uint8)
    heat[20:28, 4:12] = 255
    drawn, scale = overlaid(png(seen), png(heat)), SHOWN // 32
    assert drawn.shape == (32 * scale, 32 * scale, 3)
    assert (drawn[: 16 * scale] == 120).all()
    warm = drawn[24 * scale, 8 * scale].astype(int)
    assert warm[0] > 180 and warm[0] >= warm[2]
    color = np.zeros((32, 32, 3), np.uint8)
    color[..., 2] = 200
    assert (overlaid(png(color), png(np.zeros((32, 32), np.uint8)))[0, 0] == (0, 0, 200)).all()


def test_a_picture_with_transparency_is_shown_on_black() -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (4, 4), (255, 255, 255, 0)).save(buffer, "PNG")
    assert pixels_of(base64.b64encode(buffer.getvalue()).decode()).max() == 0
