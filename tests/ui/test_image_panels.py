"""Pictures and sequences on the task page: asked, answered, bad input refused; and what their panels are made of."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.pages import fine, page_text
from ui.panels.image_generation import file_name
from ui.panels.sequence_reversal import numbers
from ui.pictures.class_bars import bars_html
from ui.pictures.drawing import pixels_of, png
from ui.pictures.picture_input import MAX_SIDE, Picture
from ui.pictures.variations import GRID
from ui.results.attention_map import attention_chart, ideal_attention, share_on_anti_diagonal

SEQUENCE, GENERATION, CLASSES = "tasks-sequence-reversal", "tasks-image-generation", "tasks-image-classification"
PICTURE = png(np.full((40, 80), 90, np.uint8))
HOSTILE = "<script>alert(1)</script> [x](javascript:alert(1)) **b** :red[r] $y$"


def opened(page: Any, key: str) -> Any:
    app = page("tasks")
    app.selectbox(key="tasks-task").set_value(key.removeprefix("tasks-")).run()
    return fine(app)


def run(app: Any, key: str) -> Any:
    return app.button(key=f"{key}-run").click().run()


def answers(app: Any) -> list[Any]:
    """The session's history, newest first."""
    return app.session_state["history"]


def test_numbers_are_reversed_with_their_attention_beside_the_ideal(tool, page) -> None:
    app = opened(page, SEQUENCE)
    app.button(key=f"{SEQUENCE}-example-0").click().run()
    assert app.text_input(key=f"{SEQUENCE}-sequence").value == "3 1 4 1 5"
    fine(run(app, SEQUENCE))
    [asked] = answers(app)
    assert asked.row == {"sequence": [3, 1, 4, 1, 5]}
    assert "reverse" in page_text(app)
    assert asked.reference == "seq2seq-reverse/2" and "This network has no attention" in page_text(app)
    app.selectbox(key="tasks-model-sequence-reversal").set_value("seq2seq-reverse/1").run()
    fine(run(app, SEQUENCE))
    assert "of the attention lies on the anti" in page_text(app)
    assert len(app.get("vega_lite_chart")) == 2
    app.text_input(key=f"{SEQUENCE}-sequence").set_value("1,2, 3 4 5 6 7 8 9 0 1 2").run()
    fine(run(app, SEQUENCE))
    assert "longer than any" in page_text(app)


BAD_NUMBERS = {
    "": "has 0 numbers",
    "3 x 5": "'x' at place 2",
    "3 10": "'10' at place 2",
    HOSTILE: "'<script>alert(1)</script>' at place 1",
    "1 " * 41: "has 41 numbers",
    "9" * 500: "at place 1",
}


def test_numbers_that_are_none_are_said_and_not_lost(tool, page) -> None:
    app = opened(page, SEQUENCE)
    for typed, message in BAD_NUMBERS.items():
        app.text_input(key=f"{SEQUENCE}-sequence").set_value(typed).run()
        run(app, SEQUENCE)
        said = app.error[0].value
        plain = said.replace("\\", "")
        assert message in plain and "valid: 1 to 40 whole numbers from 0 to 9" in plain
        assert "<script" not in said.replace("\\<", "")
        assert app.text_input(key=f"{SEQUENCE}-sequence").value == typed


def test_a_prompt_becomes_a_picture_with_its_recipe_to_download_and_start_from(tool, page) -> None:
    app = opened(page, GENERATION)
    app.text_area(key=f"{GENERATION}-prompt").set_value(f"a fox {HOSTILE}").run()
    labels = [one.label for one in [*app.number_input, *app.slider]]
    assert "Seed" in labels and "Strength" not in labels  # there is nothing to redraw
    app.number_input(key=f"{GENERATION}-set-steps").set_value(2)
    app.number_input(key=f"{GENERATION}-set-seed").set_value(7).run()
    fine(run(app, GENERATION))
    [asked] = answers(app)
    assert asked.result["seed"] == 7 and "Seed 7 · 2 steps" in page_text(app)
    assert len(app.image) == 1 and app.get("download_button")
    assert json.loads(app.json[0].value)["prompt"] == f"a fox {HOSTILE}"
    assert "<script>" not in page_text(app).replace("\\<", "")
    app.button(key=f"{GENERATION}-answer-0-again").click().run()
    assert "Strength" in [one.label for one in [*app.number_input, *app.slider]]
    app.number_input(key=f"{GENERATION}-set-steps").set_value(3).run()
    fine(run(app, GENERATION))
    assert answers(app)[0].row["image"] == asked.result["image"]
    assert answers(app)[0].parameters["strength"] == 0.8
    assert "Pictures of this session" in page_text(app)
    app.button(key=f"{GENERATION}-image-remove").click().run()
    assert "Strength" not in [one.label for one in [*fine(app).number_input, *app.slider]]


def test_a_click_draws_several_seeds_or_a_grid_and_a_recipe_is_loaded(tool, page) -> None:
    app = opened(page, GENERATION)
    app.text_area(key=f"{GENERATION}-prompt").set_value("a fox").run()
    app.slider(key=f"{GENERATION}-pictures").set_value(4)
    app.number_input(key=f"{GENERATION}-set-steps").set_value(1)
    app.number_input(key=f"{GENERATION}-set-seed").set_value(2**32 - 2).run()
    fine(run(app, GENERATION))
    assert {one.result["seed"] for one in answers(app)} == {2**32 - 2, 2**32 - 1, 0, 1}
    first = next(one.result for one in answers(app) if one.result["seed"] == 1)

    app.segmented_control(key=f"{GENERATION}-differs").set_value(GRID).run()
    app.text_input(key=f"{GENERATION}-grid-steps").set_value("1, 2")
    app.text_input(key=f"{GENERATION}-grid-guidance").set_value("1, 3.5")
    app.number_input(key=f"{GENERATION}-set-seed").set_value(None).run()
    fine(run(app, GENERATION))
    drawn = answers(app)[:4]
    pairs = [(one.parameters["guidance"], one.parameters["steps"]) for one in reversed(drawn)]
    assert pairs == [(1.0, 1), (1.0, 2), (3.5, 1), (3.5, 2)] and len({one.result["seed"] for one in drawn}) == 1
    assert "guidance 3.5" in page_text(app)

    app.file_uploader(key=f"{GENERATION}-recipe-0").set_value(("x.png", base64.b64decode(PICTURE), "image/png")).run()
    assert "holds no recipe" in page_text(fine(app))
    app.text_area(key=f"{GENERATION}-prompt").set_value("").run()
    fox = ("fox.png", base64.b64decode(first["image"]), "image/png")
    app.file_uploader(key=f"{GENERATION}-recipe-1").set_value(fox).run()
    assert "The recipe of a picture by tiny diffusion" in page_text(fine(app)) and not app.warning
    fine(run(app, GENERATION))
    assert answers(app)[0].row["prompt"] == "a fox" and answers(app)[0].result["image"] == first["image"]


def test_what_makes_no_grid_is_said(tool, page) -> None:
    app = opened(page, GENERATION)
    app.text_area(key=f"{GENERATION}-prompt").set_value("a fox").run()
    app.segmented_control(key=f"{GENERATION}-differs").set_value(GRID).run()
    for typed, message in (("1, x", "steps to try are '1, x'"), ("1,2,3,4", "12 pictures"), ("151", "from 1 to 150")):
        app.text_input(key=f"{GENERATION}-grid-steps").set_value(typed).run()
        run(app, GENERATION)
        assert message in app.error[0].value.replace("\\", "")


def test_a_drawing_on_white_paper_is_turned_round_for_a_starter(tool, page) -> None:
    from mlflow import MlflowClient

    MlflowClient().set_model_version_tag("image-generation", "1", "starter", "true")
    paper = np.full((40, 40), 255, np.uint8)
    paper[10:30, 18:22] = 0
    app = opened(page, GENERATION)
    app.file_uploader(key=f"{GENERATION}-image-file-0").set_value(("x.png", base64.b64decode(png(paper)), "image/png"))
    app.run()
    fine(app.button(key=f"{GENERATION}-image-invert").click().run())
    kept = pixels_of(app.session_state[f"{GENERATION}-image"].image, gray=True)
    assert (kept == 255 - paper).all()
    assert not [one for one in app.button if one.key == f"{GENERATION}-image-invert"]


def test_what_cannot_be_drawn_is_said_and_not_lost(tool, page) -> None:
    app = opened(page, GENERATION)
    for prompt, message in (("", "prompt is empty"), ("   ", "white space"), ("a fox", "multiple of 8")):
        app.text_area(key=f"{GENERATION}-prompt").set_value(prompt).run()
        app.number_input(key=f"{GENERATION}-set-width").set_value(65).run()
        run(app, GENERATION)
        assert message in app.error[0].value.replace("\\", "")
        assert app.text_area(key=f"{GENERATION}-prompt").value == prompt


def test_a_picture_is_classified_and_explained_on_demand(tool, page) -> None:
    app = opened(page, CLASSES)
    run(app, CLASSES)
    assert "image" in app.error[0].value
    app.file_uploader[0].set_value(("x.png", b"no picture", "image/png")).run()
    assert "not a PNG or JPEG" in app.error[0].value
    app.file_uploader[0].set_value(("x.png", base64.b64decode(PICTURE), "image/png")).run()
    assert "80 x 40 pixels" in page_text(fine(app)) and len(app.image) == 1
    fine(run(app, CLASSES))
    assert "with a probability of" in page_text(app) and len(app.image) == 1
    app.toggle(key=f"{CLASSES}-set-explain").set_value(True).run()
    fine(run(app, CLASSES))
    assert len(app.image) == 3
    assert answers(app)[0].row == {"image": PICTURE}


def test_a_picture_too_large_for_any_model_is_reduced() -> None:
    large = Picture.of(png(np.zeros((100, MAX_SIDE * 2), np.uint8)))
    assert pixels_of(large.image).shape == (50, MAX_SIDE, 3)
    assert large.size == f"{MAX_SIDE * 2} x 100 pixels, reduced to {MAX_SIDE} x 50"
    buffer = io.BytesIO()
    Image.new("RGB", (MAX_SIDE, 3)).save(buffer, "JPEG")
    same = base64.b64encode(buffer.getvalue()).decode()
    assert Picture.of(same).image == same


def test_typed_numbers() -> None:
    assert numbers(" 3 1,4,, 15\n9 ") == [3, 1, 4, 15, 9]
    assert numbers("-1 2.5 ² " + "9" * 30) == ["-1", "2.5", "²", "9" * 30]
    assert numbers("") == []


def test_the_ideal_attention_lies_on_the_anti_diagonal() -> None:
    ideal = ideal_attention(3)
    assert ideal == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    assert share_on_anti_diagonal(ideal, 3) == 1
    assert share_on_anti_diagonal([[0.5, 0.25, 0.25], [1, 0, 0]], 3) == pytest.approx(0.125)
    assert share_on_anti_diagonal([*ideal, [1, 0, 0]], 3) == 1  # what is written past the end has no place there
    assert share_on_anti_diagonal([], 3) == 0


def test_the_map_has_a_cell_for_each_pair_and_names_numbers_by_place() -> None:
    cells, spec = attention_chart([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5]], [4, 4], [4, 7, 1], "Attention")
    assert cells["share"] == [0.1, 0.9, 0.8, 0.2, 0.5, 0.5]
    assert cells["ideal"] == [False, True, True, False, False, False]
    assert spec["encoding"]["x"]["axis"]["labelExpr"] == "[4, 4][datum.value]"
    assert spec["encoding"]["y"]["axis"]["labelExpr"] == "[4, 7, 1][datum.value]"


def test_class_bars_are_inert_and_stay_in_their_track() -> None:
    drawn = bars_html({HOSTILE: 1.0000002, "b": 0.25})
    assert "<script" not in drawn and "&lt;script&gt;" in drawn
    assert "width:100.0%" in drawn and "width:25.0%" in drawn


def test_files_are_named_by_the_prompt() -> None:
    assert file_name("A red fox, ../../in the snow <at> dawn", 7) == "a-red-fox-in-the-snow-7.png"
    assert file_name("狐", 7) == "7.png"
