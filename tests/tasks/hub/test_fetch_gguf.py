"""Downloads of GGUF files: one of several, or one in parts; for tasks that run them."""

from pathlib import Path

from tasks.hub.fetch import fetch
from tasks.hub.names import Source
from tasks.hub.source import download, pinned_in_cache, read_source, runs_on_llama, weights, write_source
from tests.support.downloads import failure, plan
from tests.support.hub_models import gguf_bytes
from tests.support.local_hub import LocalHub


def test_one_gguf_file_of_several_is_fetched_and_named_in_the_source(hub: LocalHub, tmp_path: Path) -> None:
    content = gguf_bytes(tmp_path)
    names = ("m-q4_k_m.gguf", "m-q8_0.gguf", "mmproj-f16.gguf")
    hub.add("a/chat-gguf", dict.fromkeys(names, content))
    chosen = plan(hub_id="a/chat-gguf", gguf=True)
    assert [one.name for one in chosen.variants] == ["Q4_K_M", "Q8_0"]
    assert chosen.source.file == "m-q8_0.gguf" and chosen.bytes == chosen.memory_bytes == len(content)
    other = plan(hub_id="a/chat-gguf", gguf=True, variant="q4_k_m")
    folder = fetch(other)
    assert [path.name for path in folder.iterdir()] == ["m-q4_k_m.gguf"]
    write_source(tmp_path / "model", other.source)
    assert read_source(tmp_path / "model") == other.source and runs_on_llama(tmp_path / "model")
    hub.close()
    assert weights(tmp_path / "model") == folder / "m-q4_k_m.gguf"
    assert pinned_in_cache(Source("a/chat-gguf", "main"), "", gguf=True) == other.source
    said = failure(lambda: pinned_in_cache(Source("a/chat-gguf", "main"), "Q2_K", gguf=True))
    assert said == "a/chat-gguf has no 'Q2_K'; valid: Q4_K_M"


def test_gguf_is_for_tasks_of_language_models_only(hub: LocalHub, tmp_path: Path) -> None:
    hub.add("a/gguf", {"m.gguf": gguf_bytes(tmp_path)})
    said = "a/gguf has weights as GGUF only, which this task does not run; valid: safetensors"
    assert failure(lambda: plan(hub_id="a/gguf")) == said
    assert failure(lambda: plan(hub_id="a/gguf", gguf=True, variant="Q4_0")) == "a/gguf has no 'Q4_0'; valid: m.gguf"


def test_a_divided_gguf_file_is_fetched_whole(hub: LocalHub, tmp_path: Path) -> None:
    parts = {f"Q4_K_M/m-Q4_K_M-0000{number}-of-00002.gguf": bytes(1000 + number) for number in (1, 2)}
    hub.add("a/large-gguf", {**parts, "m-Q2_K.gguf": bytes(700)})
    planned = plan(hub_id="a/large-gguf", gguf=True)
    folder = fetch(planned)
    assert planned.source.file == "Q4_K_M/m-Q4_K_M-00001-of-00002.gguf"
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.gguf")} == set(parts)
    assert download(planned.source) == folder
