"""What people may ask of image generation: sizes, strengths, prompts and pictures of all kinds; the rest is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks.base import TaskInputError
from tasks.image_generation import ImageGeneration
from tests.support.tiny_diffusion import (
    PROMPT,
    encoded,
    make,
    opened,
    photo,
    pixels,
)


@pytest.fixture(scope="module")
def task(tiny_sd: Path) -> ImageGeneration:
    return opened(tiny_sd)


@pytest.mark.parametrize(
    ("start", "given", "expected"),
    [
        ((64, 64), {}, (64, 64)),
        ((640, 160), {}, (128, 64)),  # 32 high, but 64 is the least
        ((30, 60), {}, (64, 88)),
        ((128, 256), {"width": 64}, (64, 128)),
        ((128, 256), {"height": 128}, (64, 128)),
        ((50, 50), {"width": 72, "height": 96}, (72, 96)),
        ((5000, 2), {}, (1536, 64)),
    ],
)
def test_a_picture_keeps_its_shape_unless_told_otherwise(
    task: ImageGeneration, start: tuple[int, int], given: dict[str, int], expected: tuple[int, int]
) -> None:
    row = {"prompt": PROMPT, "image": photo(*start)}
    recipe = task.recipe(row, task.check_parameters(given))
    assert (recipe.width, recipe.height) == expected


@pytest.mark.parametrize("strength", [1, 0.8, 0.5, 1 / 3, 0.3, 0.1, 0.19999999999999998, 0.02])
def test_at_least_one_step_is_always_taken(task: ImageGeneration, strength: float) -> None:
    row = {"prompt": PROMPT, "image": photo(64, 64)}
    for few in (1, 2):
        task.suggested["steps"] = few
        try:
            steps = task.recipe(row, task.check_parameters({"strength": strength})).steps
        finally:
            task.suggested["steps"] = 25
        assert int(steps * strength) >= 1
        assert steps == few or int((steps - 1) * strength) < 1


ANIMATED = encoded(photo(64, 64), save_all=True, append_images=[photo(64, 64).rotate(90)])


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({}, "column 'prompt' is missing; image-generation takes prompt, image"),
        ({"prompt": None}, r"prompt is empty .None."),
        ({"prompt": ""}, "prompt is empty; valid: text"),
        ({"prompt": " \n\t"}, "prompt is only white space; valid: text"),
        ({"prompt": 3}, "prompt is 3; valid: text"),
        ({"prompt": ["a"]}, "prompt is .*; valid: text"),
        ({"prompt": "a\0b"}, "prompt has a NUL"),
        ({"prompt": "a\ud800"}, "prompt has half of a surrogate pair"),
        ({"prompt": "a" * 2**20}, "prompt has 1048576 characters; valid: 1 to 10000"),
        ({"prompt": "a" * (2**20 + 1)}, "prompt has 1048577 characters"),
        ({"prompt": "a", "image": "no base64!"}, "image is not valid base64"),
        ({"prompt": "a", "image": b"plain text"}, "image is not a PNG or JPEG"),
        ({"prompt": "a", "image": 3}, "image is neither text nor rows of pixels"),
    ],
    ids=str,
)
def test_inputs_that_cannot_be_used_are_refused_before_anything_is_drawn(
    task: ImageGeneration, row: dict[str, Any], expected: str
) -> None:
    with pytest.raises(TaskInputError, match=expected):
        task.run([{"prompt": "good"}, row])
    with pytest.raises(TaskInputError, match=expected):
        task.stream(row)  # at the call, not at its first event


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        *(
            ({name: value}, rf"{name} is .*; valid: {valid}")
            for name, valid, values in [
                ("steps", "a whole number from 1 to 150", (0, -1, 151, 10**400, 2.5, float("nan"), "3", True)),
                ("guidance", "a number from 0 to 30", (-1, 30.1, float("nan"), float("inf"), "7")),
                ("strength", "a number from 0.02 to 1", (0, -0.1, 1.01, float("nan"))),
                ("seed", "a whole number from 0 to", (-1, 2**32, 0.5, "1")),
                ("width", "a whole number from 64 to 1536", (0, 63, 1537, 10**9, float("nan"))),
                ("height", "a whole number from 64 to 1536", (-64, 2048)),
                ("width", "a whole number from 64 to 1536, a multiple of 8", (65, 100, 513)),
                ("height", "a whole number from 64 to 1536, a multiple of 8", (76,)),
                ("negative_prompt", "text of 0 to 10000 characters", (3, "a" * 10_001)),
            ]
            for value in values
        ),
        ({"negative_prompt": "a\0"}, "negative_prompt has a NUL"),
        ({"negative_prompt": "blue", "guidance": 1}, "negative_prompt has no effect with guidance 1; valid: guidance"),
        ({"size": 3}, "unknown parameter 'size'; valid: steps, guidance, negative_prompt, strength, seed"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_parameters_that_cannot_be_used_are_refused(
    task: ImageGeneration, parameters: dict[str, Any], expected: str
) -> None:
    with pytest.raises(TaskInputError, match=expected):
        task.run([{"prompt": PROMPT}], parameters)


def test_too_few_steps_for_the_strength_are_refused_naming_both(task: ImageGeneration) -> None:
    with pytest.raises(TaskInputError, match=r"steps is 2; valid: at least 4 with strength 0\.3"):
        make(task, image=encoded(photo(64, 64)), strength=0.3, steps=2)


def test_more_rows_than_a_call_may_have_are_refused(task: ImageGeneration) -> None:
    with pytest.raises(TaskInputError, match="17 rows; valid: 1 to 16 images a call"):
        task.run([{"prompt": PROMPT}] * 17)


@pytest.mark.parametrize("prompt", ["\U0001f600", "שלום עולם", "a\u202eb", "x" * 10_000, "\u200b", "<|endoftext|>"])
def test_unusual_prompts_are_drawn(task: ImageGeneration, prompt: str) -> None:
    assert pixels(make(task, prompt, steps=1)).shape == (64, 64, 3)


@pytest.mark.parametrize(
    "image",
    [
        ANIMATED,
        encoded(photo(64, 64).convert("CMYK"), "JPEG"),
        encoded(photo(64, 64).convert("L")),
        encoded(photo(64, 64).convert("RGBA")),
        "data:image/png;base64," + encoded(photo(64, 64)),
        np.asarray(photo(64, 64)).tolist(),
    ],
    ids=["animated", "CMYK", "gray", "transparent", "data URL", "pixel rows"],
)
def test_pictures_of_all_kinds_are_drawn_from(task: ImageGeneration, image: Any) -> None:
    assert pixels(make(task, image=image, strength=0.5)).shape == (64, 64, 3)


def test_a_missing_picture_of_a_table_is_none(task: ImageGeneration) -> None:
    assert make(task, image=float("nan"))["image"] == make(task)["image"]  # type: ignore[arg-type]


def test_a_prompt_past_the_window_says_what_was_not_read(task: ImageGeneration) -> None:
    words = "house " * 15  # five tokens a word with this vocabulary, so that exactly 75 fit
    row = make(task, words)
    assert (row["tokens"], row["truncated"], row["ignored"]) == (75, False, "")
    longer = make(task, words + "garden")
    assert (longer["tokens"], longer["truncated"], longer["ignored"]) == (75, True, "garden")
    assert longer["image"] != row["image"]  # only for the recipe
    assert np.array_equal(pixels(longer), pixels(row))
