"""The image page: drawn, chosen and uploaded pictures are classified side by side; errors are readable."""

import base64
import io
import threading
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.pages import fine, page_text
from ui.pictures.canvas import picture_of
from ui.pictures.drawing import png
from ui.pictures.image_sources import Given

DRAWN = {"strokes": [], "picture": "data:image/png;base64," + png(np.pad(np.full((150, 30), 255, np.uint8), 60))}


def results(app: Any) -> dict[str, Any]:
    """What each network was asked and answered."""
    return {key.split("/")[0]: one for key, one in app.session_state["image-asked"].items()}


def chosen(app: Any, way: str) -> Any:
    app.segmented_control(key="image-way").set_value(way).run()
    return fine(app)


def test_a_drawing_is_classified_by_all_champions_each_in_its_frame(tool, page) -> None:
    app = fine(page("image"))
    assert "as soon as there is a picture" in page_text(app)
    app.session_state["image-canvas-kept"] = DRAWN
    fine(app.run())
    asked = results(app)
    assert set(asked) == {"cnn-digits", "cnn-mnist"}
    for name, side in (("cnn-digits", 8), ("cnn-mnist", 28)):
        assert Image.open(io.BytesIO(base64.b64decode(asked[name].row["image"]))).size == (side, side)
        assert asked[name].result["label"] in page_text(app)
    assert "as in MNIST" in page_text(app) and "the digits of scikit" in page_text(app)
    assert len(app.image) == 4  # what it saw, and Grad-CAM, for each
    assert "CPU" in page_text(app)


def test_nothing_is_asked_twice_and_an_emptied_canvas_empties_the_answers(tool, page) -> None:
    app = page("image")
    app.session_state["image-canvas-kept"] = DRAWN
    before = results(fine(app.run()))
    assert results(fine(app.run())) == before
    app.session_state["image-canvas-kept"] = {"strokes": [], "picture": None}
    fine(app.run())
    assert not app.session_state["image-asked"] and "as soon as there is a picture" in page_text(app)


def test_an_example_says_whether_each_network_is_right(tool, page) -> None:
    app = chosen(page("image"), "Example")
    app.pills(key="image-digit").set_value(7).run()
    fine(app)
    for one in results(app).values():
        verdict = "right" if one.result["label"] == "7" else "wrong, it is 7"
        assert verdict in page_text(app)
    first = {name: one.row["image"] for name, one in results(app).items()}
    app.button(key="image-another").click().run()
    assert all(one.row["image"] != first[name] for name, one in results(fine(app)).items())


def photo(mode: str = "RGB", size: tuple[int, int] = (60, 40), kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture = Image.new(mode, size, "white")
    picture.paste("black", (25, 5, 30, 35))
    picture.save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize(("content", "kind"), [(photo(), "png"), (photo(kind="JPEG"), "jpeg")])
def test_an_uploaded_picture_is_sent_as_it_is_or_as_a_digit(tool, page, content: bytes, kind: str) -> None:
    app = chosen(page("image"), "Upload")
    app.file_uploader[0].set_value((f"photo.{kind}", content, f"image/{kind}")).run()
    fine(app)
    assert all(base64.b64decode(one.row["image"]) == content for one in results(app).values())
    assert "32 x 32 gray pixels, the picture as it is" in page_text(app)
    app.toggle(key="image-is-digit").set_value(True).run()
    asked = results(fine(app))
    sent = np.asarray(Image.open(io.BytesIO(base64.b64decode(asked["cnn-mnist"].row["image"]))))
    assert sent.shape == (28, 28) and sent[0, 0] == 0 and sent.max() == 255
    app.button(key="image-file-remove").click().run()
    assert not fine(app).session_state["image-asked"] and app.file_uploader


def test_a_file_that_is_no_picture_is_said_and_another_one_can_follow(tool, page) -> None:
    app = chosen(page("image"), "Upload")
    for content, message in (
        (b"<script>alert(1)</script>", "not a PNG or JPEG"),
        (b"", "image is empty"),
        (photo()[:70], "damaged or truncated"),
        (photo("L", (6000, 5000)), "megapixels"),
    ):
        app.file_uploader[0].set_value(("x.png", content, "image/png")).run()
        assert message in " ".join(one.value for one in app.error)
    app.file_uploader[0].set_value(("photo.png", photo(), "image/png")).run()
    assert len(results(fine(app))) == 2


def test_other_networks_can_be_chosen_and_none(tool, page) -> None:
    app = page("image")
    app.session_state["image-canvas-kept"] = DRAWN
    app.multiselect(key="image-networks").set_value(["cnn-mnist/1"]).run()
    assert set(results(fine(app))) == {"cnn-mnist"}
    app.multiselect(key="image-networks").set_value([]).run()
    assert "Choose at least one network" in page_text(fine(app))


def test_a_waiting_answer_can_be_stopped_and_asked_again(tool, page, monkeypatch) -> None:
    from tasks.image_classification import ImageClassification

    app = page("image", timeout=5)
    app.session_state["image-canvas-kept"] = DRAWN
    go_on, real = threading.Event(), ImageClassification.answer

    def slow(self: Any, *arguments: Any) -> Any:
        go_on.wait(60)
        return real(self, *arguments)

    monkeypatch.setattr(ImageClassification, "answer", slow)
    with pytest.raises(RuntimeError, match="timed out"):
        app.run()
    app.session_state["image-asked"]["cnn-digits/1"].stop()
    app.session_state["image-asked"]["cnn-mnist/1"].stop()
    go_on.set()
    app.run(timeout=60)
    assert page_text(fine(app)).count("Stopped.") == 2
    app.button(key="image-again-cnn-mnist/1").click().run(timeout=60)
    fine(app)
    assert results(app)["cnn-mnist"].result and page_text(app).count("Stopped.") == 1


def test_a_model_that_fails_is_said_without_a_traceback(tool, page, monkeypatch) -> None:
    from tasks.image_classification import ImageClassification

    def fail(self: Any, *_: Any) -> Any:
        raise RuntimeError("secret inside")

    monkeypatch.setattr(ImageClassification, "answer", fail)
    app = page("image")
    app.session_state["image-canvas-kept"] = DRAWN
    app.run()
    assert "The model failed" in app.error[0].value
    assert "secret" not in page_text(app) and app.button(key="image-again-cnn-mnist/1")


def test_without_a_network_the_page_says_what_to_do(empty_tool, page) -> None:
    app = fine(page("image"))
    assert "No network is registered yet" in page_text(app)


@pytest.mark.parametrize("drawing", [None, 3, "x", {}, {"picture": 3}, {"picture": None}, {"picture": "x" * 10**6}])
def test_what_no_canvas_sends_is_no_picture(drawing: Any) -> None:
    assert picture_of(drawing) is None


def test_a_picture_is_framed_only_for_networks_of_other_data_sets() -> None:
    digit = np.pad(np.full((4, 2), 255, np.uint8), ((2, 2), (3, 3)))
    given = Given(png(digit), digit, "digits", "1")
    assert given.for_networks_of("digits") == (png(digit), "as it is")
    assert given.for_networks_of("mnist")[0] != png(digit)
    assert Given(png(digit)).for_networks_of("mnist") == (png(digit), "as it is")
