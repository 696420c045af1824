"""Own pictures: every way to bring them, what is refused and what is listed, the cache, the split, the report."""

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from experiments.config import UserError
from experiments.data import folders, layout, own_images
from experiments.data.decoding import decode_file
from experiments.data.images import load_images
from experiments.data.own_images import OwnImages, load_own
from experiments.data.report import data_report
from experiments.data.splits import split_own
from tests.support.own_pictures import files, in_folder, in_zip, picture
from tests.support.pictures import encoded, png

SPLIT = {**files(6, under="Train/"), **files(3, under="val/"), **files(4, under="test/")}


def loaded(dataset: str, tmp_path: Path, size: int = 32) -> OwnImages:
    return load_own(dataset, str(tmp_path / "data"), size)


def csv_of(folder: Path, lines: list[str]) -> str:
    file = folder / "list.csv"
    file.write_text("\n".join(lines) + "\n")
    return str(file)


# Layouts


def test_a_folder_and_a_zip_of_it_are_the_same_data(tmp_path: Path) -> None:
    folder = loaded(in_folder(tmp_path / "pets", files()), tmp_path)
    archive = loaded(in_zip(tmp_path / "pets.zip", files(under="pets/") | {"pets/.DS_Store": b"x"}), tmp_path)
    assert (folder.name, folder.classes) == (archive.name, archive.classes) == ("pets", ("cat", "dog"))
    assert folder.sha256 == archive.sha256 and not archive.left_out
    assert np.array_equal(folder.images, archive.images) and folder.images.shape == (20, 32, 32, 3)
    assert np.array_equal(folder.labels, np.repeat([0, 1], 10))


@pytest.mark.parametrize("around", ["", "pets/", "a/pets/"])
def test_a_file_beside_the_classes_does_not_make_one_of_the_folder_around_them(around: str, tmp_path: Path) -> None:
    contents = files(4, under=around) | {f"{around}README.txt": b"x", "LICENSE": b"y"}
    own = loaded(in_zip(tmp_path / "pets.zip", contents), tmp_path)
    assert own.classes == ("cat", "dog") and len(own.images) == 8 and own.rows[0].item.path == "cat/0.png"
    assert own.left_out == tuple((path, "lies in no folder of a class") for path in ("LICENSE", f"{around}README.txt"))


def test_parts_that_a_user_made_are_kept(tmp_path: Path) -> None:
    data = load_images(in_folder(tmp_path / "pets", SPLIT), str(tmp_path / "data"))
    assert [len(part) for part in (data.train, data.val, data.test)] == [12, 6, 8]
    without = {path: content for path, content in SPLIT.items() if path.startswith("Train")}
    whole = load_images(in_folder(tmp_path / "birds", without), str(tmp_path / "data"))
    assert [len(part) for part in (whole.train, whole.val, whole.test)] == [8, 2, 2]


def test_a_csv_names_files_labels_and_parts(tmp_path: Path) -> None:
    in_folder(tmp_path, {f"all/{number}.png": picture("cat", number) for number in range(8)})
    lines = [f"all/{number}.png;{'even' if number % 2 == 0 else 'odd'};{number}" for number in range(8)]
    own = loaded(
        csv_of(tmp_path, ["File;Label;note", *lines, "all/9.png;even;", "../x.png;odd;", "all/1.png;;"]), tmp_path
    )
    assert own.classes == ("even", "odd") and own.labels.tolist() == [0, 1] * 4
    assert [why for _, why in own.left_out] == [
        "line 10: cannot be read (No such file or directory)",
        "line 11: cannot be read (No such file or directory)",
        "line 12: has no label",
    ]
    split = [f"all/{number}.png,{'ab'[number % 2]},{'train' if number < 4 else 'test'}" for number in range(8)]
    assert set(loaded(csv_of(tmp_path, ["file,label,part", *split]), tmp_path).parts) == {"train", "test"}


# What is refused, in a line


def renamed(labels: tuple[str, ...]) -> Callable[[Path], str]:
    return lambda path: in_folder(path / "own", files(4, labels))


def damaged_names(path: Path) -> str:
    archive = Path(in_zip(path / "own.zip", files(4, ("ça",))))
    archive.write_bytes(archive.read_bytes().replace("ç".encode(), b"\xff\xff"))
    return str(archive)


REFUSED: dict[str, tuple[Callable[[Path], str], str]] = {
    "nothing there": (lambda path: str(path / "own"), "there is no such folder or file; valid: a folder with"),
    "no data set": (
        lambda path: in_folder(path, {"own.txt": b"x"}) + "/own.txt",
        "neither a folder nor a zip nor a CSV",
    ),
    "empty": (lambda path: in_folder(path / "own", {".hidden": b"x"}), "has no pictures of classes; valid"),
    "no folders": (
        lambda path: in_folder(path / "own", {"1.png": b"x"}),
        r"\(1 files left out, the first: '1.png' lies",
    ),
    "one class": (renamed(("cat",)), r"has 1 class \('cat'\); valid: 2 to 1,000"),
    "case": (renamed(("cat", "Cat", "dog")), "'Cat' and 'cat', which differ only by case or blanks; valid"),
    "blanks": (renamed(("big cat", "big  cat ")), "differ only by case or blanks"),
    "line break": (renamed(("cat", "do\ng")), r"has the class 'do\\ng'; valid: names"),
    "one picture": (
        lambda path: in_folder(path / "own", files(4) | {"owl/1.png": picture("owl", 1)}),
        r"too few pictures that can be read \('owl' has 1\); valid: at least 3",
    ),
    "no pictures": (
        lambda path: in_folder(path / "own", {f"{label}/{n}.jpg": b"x" for label in "ab" for n in range(3)}),
        "has no pictures of classes .6 files left out, the first: 'a/0.jpg' is not a PNG or JPEG",
    ),
    "only in test": (
        lambda path: in_folder(path / "own", SPLIT | {"test/owl/1.png": picture("owl", 1)}),
        "has the class 'owl' in test and not in train; valid",
    ),
    "columns": (
        lambda path: csv_of(path, ["path,label", "a.png,x"]),
        "column 'file' is missing; the file has path, label",
    ),
    "no CSV": (lambda path: csv_of(path, [""]), "list.csv: the file is empty"),
    "zip bomb": (
        lambda path: in_zip(path / "own.zip", {"a/1.png": bytes(30_000_000), "b/1.png": bytes(30_000_000)}),
        "more than 200 times its size; valid",
    ),
    "unknown home": (lambda _: "~nobody.of.this.name/own", "cannot be read .Could not determine home directory"),
    "no Unicode": (lambda path: f"{path}/own\udcff", "'utf-8' codec can't encode"),
    "pipe": (lambda path: os.mkfifo(path / "own.csv") or f"{path}/own.csv", "neither a folder nor a zip nor a CSV"),
    "damaged names in a zip": (damaged_names, "cannot be read .'utf-8' codec can't decode"),
    "cut off zip": (
        lambda path: (
            in_folder(path, {"own.zip": (path / in_zip(path / "z", files())).read_bytes()[:-400]}) + "/own.zip"
        ),
        "neither a folder nor a zip nor a CSV",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_in_a_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "SMALL_ZIP", 2**20)
    make, expected = REFUSED[name]
    with pytest.raises(UserError, match=expected) as caught:
        load_images(make(tmp_path), str(tmp_path / "data"))
    assert "\n" not in str(caught.value)


def test_too_many_files_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "MAX_FILES", 19)
    with pytest.raises(UserError, match="more than 19 files; valid: at most"):
        loaded(in_folder(tmp_path / "pets", files()), tmp_path)


# What is listed, among good files


def test_what_cannot_be_read_is_listed_and_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.images.MAX_BYTES", 20_000)
    monkeypatch.setattr(folders, "MAX_BYTES", 20_000)
    jpeg = picture("cat", 5, (64, 64), "JPEG")
    bad = {
        "cat/notes.txt": b"hello",
        "cat/empty.png": b"",
        "cat/bomb.png": png(12_000, 12_000, color_type=2),
        "cat/torn.jpg": jpeg[: len(jpeg) // 2],
        "cat/large.png": picture("cat", 6, (100, 100)),
        "cat/li\nne.png": b"",
        "stray.png": picture("cat", 7),
    }
    root = in_folder(tmp_path / "pets", files() | bad)
    outside = tmp_path / "secret.png"
    outside.write_bytes(picture("cat", 8))
    (tmp_path / "pets/cat/link.png").symlink_to(outside)
    (tmp_path / "pets/dog/all").symlink_to(tmp_path)
    (tmp_path / "pets/dog/again.png").symlink_to("../dog/1.png")  # within: as good as a copy
    os.mkfifo(tmp_path / "pets/dog/pipe.png")
    own = loaded(root, tmp_path)
    assert {path: why.split(" (")[0] for path, why in own.left_out} == {
        "cat/notes.txt": "is not a PNG or JPEG",
        "cat/empty.png": "is empty",
        "cat/bomb.png": "is 12000 x 12000 pixels",
        "cat/torn.jpg": "is damaged or truncated",
        "cat/large.png": "is larger than 0 MB, the most that is taken",
        "cat/li\nne.png": "is empty",
        "stray.png": "lies in no folder of a class",
        "cat/link.png": "leads out of the folder",
        "dog/all": "leads out of the folder",
        "dog/pipe.png": "is no file, or a link to a folder",
    }
    assert len(own.images) == 21 and all("\n" not in warning for warning in data_report(own, halves(own)).warnings)


def halves(own: OwnImages) -> Any:
    return split_own(own.parts, own.labels, own.classes, None, 0, own.origin)


def test_nothing_leads_out_of_a_zip(tmp_path: Path) -> None:
    evil = {"../evil/1.png": picture("cat", 1), "/cat/2.png": picture("cat", 2), "cat/../dog/3.png": picture("cat", 3)}
    own = loaded(in_zip(tmp_path / "pets.zip", files() | evil), tmp_path)
    assert {why for _, why in own.left_out} == {"leads out of the zip"} and len(own.left_out) == 3
    assert own.classes == ("cat", "dog") and not (tmp_path.parent / "evil").exists()


def test_a_damaged_member_of_a_zip_is_skipped_whatever_packed_it(tmp_path: Path) -> None:
    archive = tmp_path / "pets.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path, content in files(4).items():
            packed.writestr(path, content, zipfile.ZIP_LZMA)
    content = bytearray(archive.read_bytes())
    content[300:600] = bytes(300)
    archive.write_bytes(content)
    own = loaded(str(archive), tmp_path)
    assert len(own.images) == 7 and [path for path, _ in own.left_out] == ["cat/0.png"]


def test_pictures_of_equal_channels_become_gray(tmp_path: Path) -> None:
    gray = {
        path: encoded(Image.open(io.BytesIO(content)).convert("L").convert("RGB")) for path, content in files().items()
    }
    own = loaded(in_folder(tmp_path / "pets", gray), tmp_path)
    assert own.images.shape == (20, 32, 32, 1)
    first, _ = decode_file(gray["cat/0.png"], 32)
    assert np.array_equal(own.images[0, ..., 0], first[..., 0])
    last, _ = decode_file(gray["dog/9.png"], 32)
    assert np.array_equal(own.images[-1, ..., 0], last[..., 0])


# The cache


def test_pictures_are_decoded_once_for_each_size_until_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[int] = []
    decode = own_images.decode_to
    monkeypatch.setattr(own_images, "decode_to", lambda *args: times.append(1) or decode(*args))
    root = in_folder(tmp_path / "pets", files())
    first, again = loaded(root, tmp_path), loaded(root, tmp_path)
    pixels = first.images.copy()
    assert len(times) == 1 and first.sha256 == again.sha256 and np.array_equal(pixels, again.images)
    assert loaded(root, tmp_path, 64).images.shape == (20, 64, 64, 3) and len(times) == 2
    (cache,) = (tmp_path / "data/cache").glob("*-32.u8")
    content = bytearray(cache.read_bytes())
    content[100] ^= 1
    cache.write_bytes(content)
    assert np.array_equal(loaded(root, tmp_path).images, pixels) and len(times) == 3  # a damaged file is not used
    facts = cache.with_suffix(".json")
    for altered in ('"cat"', '"rows"'):  # other labels, and nothing of use
        facts.write_text(facts.read_text().replace(altered, '"dog"', 1))
        assert loaded(root, tmp_path).sha256 == first.sha256
    assert len(times) == 5
    (tmp_path / "pets/cat/0.png").write_bytes(picture("cat", 99))
    changed = loaded(root, tmp_path)
    assert len(times) == 6 and changed.sha256 != first.sha256
    assert sorted(path.suffix for path in cache.parent.iterdir()) == [".json", ".json", ".lock", ".lock", ".u8", ".u8"]
