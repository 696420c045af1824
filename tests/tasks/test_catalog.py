"""The catalog: what ships is whole and can be fetched by what is in it; a damaged file is named and refused."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tasks import PRETRAINED_TASKS
from tasks.catalog import CATALOG_FILE, CatalogError, catalog, read_catalog
from tasks.hub.source import Source


def test_every_pretrained_task_offers_models_that_the_hub_could_have() -> None:
    assert set(catalog()) == set(PRETRAINED_TASKS)
    for offers in catalog().values():
        assert 2 <= len(offers.models) <= 4
        assert [model.default for model in offers.models] == [True] + [False] * (len(offers.models) - 1)
        for model in offers.models:
            if model.package is None:
                Source(model.model_id, model.revision)  # raises for what is neither an id nor a revision
            assert offers.find(model.name) is offers.find(model.model_id) is model
            assert model.source or not (model.license or model.disk_bytes or model.parameters)
            assert model.note and offers.good_for(model.name) == offers.good_for(model.model_id) == model.note
        assert bool(offers.starter) == bool(offers.starter_note)
        assert offers.find("nobody/nothing") is None


def test_the_models_that_the_mission_names_are_there() -> None:
    assert catalog()["summarization"].find("bart-large-cnn")
    assert catalog()["story-completion"].find("gpt2") and catalog()["next-word-prediction"].find("gpt2")


def test_every_model_says_what_it_is_good_for() -> None:
    assert catalog()["image-generation"].good_for("starter-image-generation") == (
        "digits and ten kinds of clothes, 64 x 64, gray"
    )
    assert catalog()["chatbot"].good_for("SmolLM2-135M-Instruct").endswith("often wrong")
    assert catalog()["chatbot"].good_for("somebody/else") == catalog()["chatbot"].good_for("starter-chat") == ""


def test_sizes_are_told_as_far_as_they_are_known() -> None:
    gpt2 = catalog()["story-completion"].find("gpt2")
    assert gpt2 and gpt2.memory_bytes == 4 * gpt2.parameters  # type: ignore[operator]
    assert gpt2.size() == "124 M parameters, 0.55 GB to download, 0.50 GB of memory on a CPU"
    unknown = catalog()["question-answering"].find("roberta-base-squad2")
    assert unknown and unknown.memory_bytes is None and unknown.size() == "size not looked up"


def damaged(tmp_path: Path, change: Any) -> Path:
    """The shipped catalog after `change` was done to it."""
    content = yaml.safe_load(CATALOG_FILE.read_text())
    change(content)
    path = tmp_path / "catalog.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def packaged(content: Any) -> dict[str, Any]:
    return content["chatbot"]["models"][-1]


def first(content: Any) -> dict[str, Any]:
    return content["chatbot"]["models"][0]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda c: c.pop("chatbot"), "catalog.yaml has .*valid: an entry each for sentiment-analysis"),
        (lambda c: c.update(chat={}), "catalog.yaml has .*chat"),
        (lambda c: c.update(chatbot=[]), "chatbot is not as it should be; valid: starter"),
        (lambda c: c["chatbot"].pop("starter"), "chatbot is not as it should be; valid: starter"),
        (lambda c: c["chatbot"].update(models=[]), "chatbot has 0 models with default: true; valid: one"),
        (lambda c: first(c).pop("default"), "chatbot has 0 models with default: true"),
        (lambda c: c["chatbot"]["models"][1].update(default=True), "chatbot has 2 models with default: true"),
        (lambda c: first(c).update(default="yes"), "chatbot, model 1: default is 'yes'; valid: true or false"),
        (lambda c: c["chatbot"]["models"].append(dict(first(c))), "chatbot has two models called SmolLM2-360M"),
        (lambda c: first(c).pop("license"), "chatbot, model 1 has no license; .*unverified"),
        (lambda c: first(c).update(licensed="mit"), "chatbot, model 1: unknown field licensed; valid: hub_id"),
        (lambda c: first(c).update(hub_id="../../etc/passwd"), "chatbot, model 1: hub_id is '../../etc/passwd'"),
        (lambda c: first(c).update(hub_id="a/.."), "hub_id is 'a/..'"),
        (lambda c: first(c).update(hub_id="gpt2"), "hub_id is 'gpt2'"),
        (lambda c: first(c).update(revision=1), "revision is 1"),
        (lambda c: first(c).update(revision="../main"), "revision is '../main'"),
        (lambda c: first(c).update(license=""), "license is ''"),
        (lambda c: first(c).update(disk_mb="big"), "disk_mb is 'big'; valid: a number above 0, or unverified"),
        (lambda c: first(c).update(disk_mb=float("nan")), "disk_mb is nan"),
        (lambda c: first(c).update(parameters_m=True), "parameters_m is True"),
        (lambda c: first(c).update(parameters_m=-1), "parameters_m is -1"),
        (lambda c: first(c).update(source="my friend"), "source is 'my friend'"),
        (lambda c: c["chatbot"]["models"].append("gpt2"), "chatbot, model 5 is 'gpt2'; valid: fields hub_id"),
        (lambda c: packaged(c).pop("sha256"), "chatbot, model 4 has no sha256"),
        (lambda c: packaged(c).update(sha256="abc"), "chatbot, model 4: sha256 is 'abc'"),
        (lambda c: packaged(c).update(file="../x.gguf"), "chatbot, model 4: file is '../x.gguf'"),
        (lambda c: packaged(c).update(file="a/x.pickle"), "chatbot, model 4: file is 'a/x.pickle'"),
        (lambda c: packaged(c).update(version="latest"), "chatbot, model 4: version is 'latest'"),
        (lambda c: packaged(c).update(revision="main"), "chatbot, model 4: unknown field revision; valid: package"),
        (lambda c: c["chatbot"].update(starter="../elsewhere"), "chatbot: starter is '../elsewhere'; valid: a folder"),
        (lambda c: c["chatbot"].update(starter=3), "chatbot: starter is 3"),
        (lambda c: c["chatbot"].update(starter_note=3), "chatbot: starter_note is 3"),
    ],
)
def test_a_damaged_catalog_is_refused_with_the_field_named(change: Any, expected: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=expected) as error:
        read_catalog(damaged(tmp_path, change))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"[1]", b"a: [", b"\xff\xfe\xfa", b"!!python/object/apply:os.getcwd []"])
def test_a_file_that_is_no_catalog_is_refused_and_runs_nothing(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_bytes(content)
    with pytest.raises(CatalogError, match=r"catalog\.yaml (cannot be read|has)") as error:
        read_catalog(path)
    assert "\n" not in str(error.value)
    with pytest.raises(CatalogError, match="cannot be read"):
        read_catalog(tmp_path / "missing.yaml")


def test_a_starter_is_a_folder_of_the_project(tmp_path: Path) -> None:
    offers = read_catalog(damaged(tmp_path, lambda c: c["chatbot"].update(starter="starters/chat")))["chatbot"]
    assert offers.starter is not None and offers.starter.parts[-2:] == ("starters", "chat")


def test_listing_models_loads_neither_torch_nor_mlflow() -> None:
    program = (
        "import sys; from tasks.catalog import catalog; print(catalog()['chatbot'].default.name)\n"
        "print(sorted({'torch', 'mlflow', 'transformers', 'huggingface_hub'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split("\n")[:2] == ["SmolLM2-360M-Instruct", "[]"]
