"""The page about own data: what is kept of an upload, the report, and the training that it starts."""

from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from experiments.config import UserError
from tests.support.own_pictures import files, in_folder, in_zip, picture
from tests.support.pages import texts
from ui.own_data import keeping
from ui.own_data.choosing import PATH
from ui.own_data.estimate import seconds_per_image, training_seconds
from ui.own_data.keeping import keep_class, keep_folder, keep_zip, kept_sets


def uploads(contents: dict[str, bytes]) -> list[Any]:
    return [SimpleNamespace(name=name, getvalue=lambda content=content: content) for name, content in contents.items()]


@pytest.fixture
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_here")
def test_uploads_are_kept_in_names_that_lead_nowhere_else() -> None:
    kept = keep_folder(
        "../My pets!",
        uploads({"pets/cat/1.png": b"1", "pets/../../evil.png": b"2", "pets/do\ng/1.png": b"3", "pets": b"4"}),
    )
    assert kept.path == "data/own/My-pets" and kept.written == 1
    assert kept.refused == ("pets/../../evil.png", "pets/do\ng/1.png", "pets")
    again = keep_class("My pets!", " cat ", uploads({"1.png": b"other", "/etc/1.png": b"1"}))
    assert again.written == 2
    found = {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    assert found == {"data/own/My-pets/cat/1.png": b"1", "data/own/My-pets/cat/1-2.png": b"other"}
    for content, path in ((b"z", "birds.zip"), (b"other", "birds-2.zip"), (b"z", "birds.zip")):
        assert keep_zip("birds", uploads({"x.zip": content})[0]).path == f"data/own/{path}"
    other = keep_folder("My pets!", uploads({"x/owl/1.png": b"5"}))  # not mixed with the one before
    assert other.path == "data/own/My-pets-2"
    assert kept_sets() == ["data/own/My-pets", "data/own/My-pets-2", "data/own/birds-2.zip", "data/own/birds.zip"]


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(
    ("name", "label", "expected"),
    [(" ", "cat", "has no name"), ("pets", "..", "the class is"), ("pets", "a/b", "no slash"), ("pets", " ", "valid")],
)
def test_names_that_cannot_be_are_refused(name: str, label: str, expected: str) -> None:
    with pytest.raises(UserError, match=expected):
        keep_class(name, label, uploads({"1.png": b""}))
    assert not keeping.HOME.exists()


def test_an_estimate_comes_from_steps_of_the_network() -> None:
    assert 0 < seconds_per_image("lenet5", 3, 1, 32) < seconds_per_image("vgg_small", 3, 3, 64)
    with pytest.raises(ValueError, match="takes images of 32 px"):
        seconds_per_image("lenet5", 3, 1, 64)
    assert training_seconds(0.01, 300, 30, 10) == pytest.approx(20 + 10 * 3.1)


def test_own_pictures_are_looked_at_and_trained_on(tool: Path, page: Any, started: list) -> None:
    root = in_folder(tool / "my pets", files(12) | {"cat/no<b>te.txt": b"x"})
    app = page("own")
    assert not app.error and "A report on your pictures" in texts(app)
    app.session_state[PATH] = root
    app.run()
    assert not app.error
    shown = texts(app)
    assert "my-pets" in shown and "24 color pictures of 2 classes, 40 x 30 pixels" in shown
    assert "1 file left out: 'cat/no<b>te.txt' is not a PNG or JPEG." in shown
    assert app.dataframe[0].value.to_dict("list")["train"] == [8, 9]
    assert "on this machine's CPU" in shown
    app.selectbox(key="own-model").set_value("vgg_small").run()
    app.select_slider(key="own-size").set_value(64).run()
    app.number_input(key="own-epochs").set_value(3).run()
    app.button(key="own-train").click().run()
    expected = {"model": "vgg_small", "dataset": root, "image_size": "64", "epochs": "3", "flip": "false"}
    assert started == [("cnn", expected)] and "Started: vgg_small on" in texts(app)
    app.selectbox(key="own-model").set_value("lenet5").run()
    assert "lenet5 takes images of 32 px" in app.error[0].value.replace("\\", "")
    app.selectbox(key="own-model").set_value("resnet18").run()
    app.select_slider(key="own-size").set_value(128).run()
    app.toggle(key="own-pretrained").set_value(True).run()
    app.button(key="own-train").click().run()
    assert not app.error
    assert started[-1][1].items() >= {"model": "resnet18", "image_size": "128", "weights": "pretrained"}.items()


def test_what_cannot_be_used_is_said_and_can_be_changed(tool: Path, page: Any) -> None:
    app = page("own")
    for path, expected in (
        ("./nowhere", "there is no such folder or file"),
        (in_zip(tool / "one.zip", files(4, ("cat",))), "has 1 class"),
        (in_folder(tool / "few", files(4) | {"owl/1.png": picture("owl", 1)}), "too few pictures"),
    ):
        app.session_state[PATH] = path
        app.run()
        assert len(app.error) == 1 and expected in app.error[0].value.replace("\\", "")
    app.session_state[PATH] = in_folder(tool / "good", files(4))
    app.run()
    assert not app.error


def test_an_upload_is_kept_and_shown(tool: Path, page: Any) -> None:
    content = Path(in_zip(tool / "x.zip", files(5))).read_bytes()
    app = page("own")
    app.segmented_control(key="own-way").set_value("Zip").run()
    app.text_input(key="own-name").set_value("Two pets").run()
    app.file_uploader[0].set_value(("pets.zip", BytesIO(content).getvalue(), "application/zip")).run()
    app.button(key="own-keep").click().run()
    assert not app.error and (tool / "data/own/Two-pets.zip").read_bytes() == content
    assert "kept under data/own/Two-pets.zip" in texts(app) and "10 color pictures of 2 classes" in texts(app)


def test_pictures_that_are_added_class_by_class_are_seen_at_once(tool: Path, page: Any) -> None:
    app = page("own")
    app.segmented_control(key="own-way").set_value("One class").run()
    for number, label in enumerate(("cat", "dog", "owl")):
        app.text_input(key="own-label").set_value(label).run()
        added = [(f"{one}.png", picture(label, 100 * number + one), "image/png") for one in range(4)]
        app.file_uploader(key=f"own-files-{number}").set_value(added).run()
        app.button(key="own-keep").click().run()
    assert "12 color pictures of 3 classes" in texts(app)
