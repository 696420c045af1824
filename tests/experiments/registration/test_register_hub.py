"""Registering from the local Hub: GGUF files, stops and resumes, tokens; what cannot be had is a line, and no more."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient

from experiments import register
from experiments.config import TrainingError
from experiments.registration import download
from tasks import registry
from tasks.hub.fetch import DownloadProgress, left_over
from tasks.runs import open_store
from tests.support import tiny_gguf
from tests.support.hub_models import gguf_bytes, safetensors, transformers_files
from tests.support.local_hub import TOKEN, LocalHub, local_hub, use_in_process

ID = "someone/chat-GGUF"
FILE = "chat-q8_0.gguf"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return tiny_gguf.save_both(tmp_path_factory.mktemp("tiny"))[1].read_bytes()


@pytest.fixture
def hub(store: Path, tiny: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    with local_hub() as hub:
        hub.add(ID, {FILE: tiny, "chat-q4_k_m.gguf": tiny[:-64]}, license="mit")
        use_in_process(hub, tmp_path / "cache", monkeypatch)
        yield hub


def run(*arguments: str, model: str = ID, task: str = "chatbot") -> Any:
    return register.main(["--task", task, "--model", model, "--evaluate", "false", *arguments])


def runs() -> list[Any]:
    client = open_store()
    experiment = client.get_experiment_by_name("register")
    return client.search_runs([experiment.experiment_id]) if experiment else []


def test_a_gguf_file_of_the_hub_is_registered_by_reference(hub: LocalHub, capsys: pytest.CaptureFixture[str]) -> None:
    run()
    version = registry.find("chatbot")
    expected = {
        "hub_id": ID,
        "file": FILE,
        "revision": hub.repositories[ID].main,
        "packaged": "false",
        "license": "mit",
    }
    assert expected.items() <= version.tags.items()
    assert registry.expected("chatbot").weights == f"{ID} {expected['revision']} {FILE}"
    place = Path(mlflow.artifacts.download_artifacts("models:/chatbot@champion"))
    source = json.loads((place / "artifacts" / "model" / "source.json").read_text())
    assert source == {"hub_id": ID, "revision": expected["revision"], "file": FILE}
    needed = (place / "requirements.txt").read_text()
    assert "xllamacpp" in needed and "huggingface-hub" in needed and "torch" not in needed
    said = capsys.readouterr().out
    assert "(100%)" in said and "by reference" in said
    assert hub.sent["chat-q4_k_m.gguf"] == 0
    hub.close()  # from now on the cache serves
    assert isinstance(
        registry.load("chatbot").run([{"messages": [{"role": "user", "content": "Hi"}]}])[0]["reply"], str
    )
    run("--package_weights", "true")
    place = Path(mlflow.artifacts.download_artifacts("models:/chatbot/2")) / "artifacts" / "model"
    assert {path.name for path in place.iterdir()} == {FILE, "task.json"}
    assert registry.find("chatbot/2").tags["revision"] == expected["revision"]


BAD: dict[str, tuple[dict[str, bytes] | None, dict[str, Any], str]] = {
    "nobody/nothing": (None, {}, "nobody/nothing is not on the Hub, or is private"),
    "own/private": ({"m.gguf": b"x"}, {"private": True}, "own/private is not on the Hub, or is private"),
    "a/gated": ({**transformers_files()}, {"gated": "auto"}, "a/gated is gated: accept its terms on its page"),
    "a/pickles": ({"pytorch_model.bin": b"x"}, {}, "a/pickles has no weights as safetensors or GGUF; pickles are not"),
    "a/adapter": (
        {"adapter_config.json": b"{}", "adapter_model.safetensors": safetensors(9)},
        {},
        "a/adapter holds an adapter; valid: a whole model",
    ),
    f"{ID}:Q2_K": (None, {}, f"{ID} has no 'Q2_K'; valid: Q4_K_M, Q8_0"),
    f"{ID}:Q4_K_M": (None, {}, "is not all of a GGUF file: it has"),  # truncated
}


@pytest.mark.parametrize("model", BAD)
def test_what_cannot_be_had_is_one_line_and_nothing_is_registered(
    model: str, hub: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    files, facts, said = BAD[model]
    if files is not None:
        hub.add(model, files, **facts)
    with pytest.raises(TrainingError, match="1 of 1 tasks failed: chatbot"):
        run(model=model)
    [line] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("chatbot ")]
    assert f"not registered: {said}" in line or said in line
    assert registry.versions() == []
    [made] = runs()
    assert made.info.status == "FAILED" and said in made.data.tags["error"]


def test_an_architecture_that_llama_cpp_does_not_know_is_one_line(
    hub: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.add("a/future-gguf", {"f-q8_0.gguf": gguf_bytes(tmp_path, "future")})
    with pytest.raises(TrainingError):
        run(model="a/future-gguf")
    assert "does not know its architecture 'future'" in capsys.readouterr().out
    assert registry.versions() == []


def test_a_model_larger_than_the_memory_is_not_downloaded(
    hub: LocalHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROJECT_DL_MEMORY_GB", "0.00001")
    with pytest.raises(TrainingError):
        run()
    assert f"{ID} needs" in capsys.readouterr().out and not hub.sent


def test_a_wrong_revision_and_a_changed_main(hub: LocalHub, capsys: pytest.CaptureFixture[str], tiny: bytes) -> None:
    with pytest.raises(TrainingError):
        run("--revision", "v9")
    assert f"{ID} has no revision v9" in capsys.readouterr().out
    first = hub.repositories[ID].main
    run()
    changed = hub.repositories[ID].commit({FILE: tiny, "README.md": b"new"})
    run()
    run("--revision", first)
    found = {one.version: one.tags["revision"] for one in registry.versions()}
    assert found == {1: first, 2: changed, 3: first}


def test_a_model_without_a_chat_template_says_so(
    hub: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, path = tiny_gguf.save_both(tmp_path / "plain", chat_template=False)
    hub.add("a/plain-gguf", {"p-q8_0.gguf": path.read_bytes()})
    run(model="a/plain-gguf")
    assert "it has no chat template: it continues the messages as plain text" in capsys.readouterr().out
    assert registry.find("chatbot").tags["chat_template"] == "none"


def test_a_stop_during_the_download_keeps_it_and_the_same_command_resumes(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(shown: Any, now: DownloadProgress) -> None:
        if now.done > 100_000:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download._Line, "__call__", stop)
        with pytest.raises(KeyboardInterrupt) as stopped:
            run()
    assert stopped.value.__notes__[-1] == "what was downloaded is kept, and the same command resumes"
    kept = left_over(ID)
    assert kept > 100_000 and registry.versions() == []
    assert [one.info.status for one in runs()] == ["KILLED"]
    hub.sent.clear()
    run()
    assert hub.sent[FILE] == len(hub.repositories[ID].content(FILE)) - kept
    assert registry.find("chatbot").version == 1 and left_over(ID) == 0


def test_offline_what_is_not_in_the_cache_is_one_line(hub: LocalHub, capsys: pytest.CaptureFixture[str]) -> None:
    hub.close()
    with pytest.raises(TrainingError):
        run()
    assert f"not registered: {ID} is not in the local cache, and the Hub cannot be reached" in capsys.readouterr().out


@pytest.mark.parametrize("right", [True, False])
def test_a_token_is_in_no_file_and_in_no_line(
    right: bool, hub: LocalHub, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    token = TOKEN if right else "hf_aWrongTokenOfSomebody"
    hub.repositories[ID].gated = "manual"
    hub.repositories[ID].accepted = True
    monkeypatch.setenv("HF_TOKEN", token)
    if right:
        run()
        assert hub.seen_tokens["cdn"] == set()
    else:
        with pytest.raises(TrainingError):
            run()
    said = capfd.readouterr()
    assert ("the Hub does not know the token" in said.out) is not right
    assert token not in said.out + said.err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 2 and not [path for path in files if token.encode() in path.read_bytes()]
    assert MlflowClient().search_registered_models() or not right
