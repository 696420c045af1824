"""Finding models on the local Hub: only those that can run here, with what is known of them; offline the cache."""

from collections.abc import Iterator
from pathlib import Path

import gguf
import pytest

from experiments import register
from experiments.config import ConfigError
from tasks import TASKS
from tasks.hub import memory
from tasks.hub.architectures import GGUF_ARCHITECTURES, classes
from tasks.hub.failures import HubUnreachableError, TokenRefusedError
from tasks.hub.fetch import fetch
from tasks.hub.names import Source
from tasks.hub.repository import look_up
from tasks.hub.search import in_local_cache, search
from tests.support.hub_models import gguf_bytes, transformers_files
from tests.support.local_hub import TOKEN, LocalHub, local_hub, use_in_process

CHAT = {"chat_template.jinja": b"{{ messages }}"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A Hub with a dozen models, of which few can run here."""
    with local_hub() as hub:
        qwen = {**transformers_files("Qwen2ForCausalLM", model_type="qwen2"), **CHAT}
        hub.add("qwen/qwen2-0.5b-chat", qwen, downloads=500, license="mit")
        hub.add("qwen/qwen2-0.5b-gated", qwen, downloads=900, gated="auto")
        hub.add("qwen/qwen2-0.5b-gguf", {"q-q8_0.gguf": gguf_bytes(tmp_path, "qwen2")}, downloads=700)
        hub.add("qwen/qwen2-0.5b", transformers_files("Qwen2ForCausalLM"), downloads=5)  # without a chat template
        hub.add("qwen/private-0.5b", qwen, private=True, downloads=1)
        hub.add("qwen/of-a-future-0.5b", {**transformers_files("Qwen99ForCausalLM"), **CHAT})
        hub.add("qwen/pickles-0.5b", {"config.json": qwen["config.json"], "pytorch_model.bin": b"x", **CHAT})
        hub.add("qwen/awq-0.5b", {**transformers_files("Qwen2ForCausalLM", quantization_config={}), **CHAT})
        hub.add("qwen/lora-0.5b", qwen, library_name="peft")
        hub.add("qwen/embedder-0.5b-gguf", {"e.gguf": gguf_bytes(tmp_path, "bert")})
        hub.add(
            "mood/distilbert",
            transformers_files("DistilBertForSequenceClassification"),
            pipeline_tag="text-classification",
        )
        hub.add(
            "art/tiny-sd",
            {"model_index.json": b'{"_class_name": "StableDiffusionPipeline"}', **transformers_files("X")},
            pipeline_tag="text-to-image",
        )
        hub.add(
            "art/flux",
            {"model_index.json": b'{"_class_name": "FluxPipeline"}', **transformers_files("X")},
            pipeline_tag="text-to-image",
        )
        use_in_process(hub, tmp_path / "cache", monkeypatch)
        yield hub


def test_what_can_run_here_is_listed_by_downloads(hub: LocalHub) -> None:
    offers = search("chatbot", "QWEN 0.5b")
    assert [offer.hub_id.split("/")[1] for offer in offers] == [
        "qwen2-0.5b-gated",
        "qwen2-0.5b-gguf",
        "qwen2-0.5b-chat",
    ]
    gated, packed, chat = offers
    assert (gated.gated, packed.gated) == (True, False)
    assert (chat.kind, chat.parameters, chat.bytes, chat.memory_bytes) == ("safetensors", 1000, 4000, 4000)
    assert (chat.license, chat.downloads) == ("mit", 500)
    assert (packed.kind, packed.parameters, packed.bytes) == ("GGUF", 1000, 1062)  # 8.5 bits each
    assert [offer.hub_id for offer in search("chatbot", "", limit=1)] == ["qwen/qwen2-0.5b-gated"]


@pytest.mark.parametrize(
    ("task", "expected"),
    [
        ("sentiment-analysis", ["mood/distilbert"]),
        ("image-generation", ["art/tiny-sd"]),
        ("question-answering", []),
        ("story-completion", ["gated", "gguf", "chat", "0.5b"]),
    ],
)
def test_each_task_finds_its_own(hub: LocalHub, task: str, expected: list[str]) -> None:
    found = [offer.hub_id for offer in search(task, "")]
    assert len(found) == len(expected) and all(one.endswith(end) for one, end in zip(found, expected, strict=True))


def test_what_is_private_is_found_with_a_token(hub: LocalHub) -> None:
    assert "qwen/private-0.5b" in [offer.hub_id for offer in search("chatbot", "", token=TOKEN)]
    with pytest.raises(TokenRefusedError):
        search("chatbot", "", token="hf_wrong")


def test_a_hub_that_is_away_is_said_at_once_and_the_cache_is_offered(
    hub: LocalHub, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(look_up(Source("qwen/qwen2-0.5b-gguf", "main"), gguf=True))
    fetch(look_up(Source("mood/distilbert", "main"), gguf=False))
    hub.close()
    with pytest.raises(HubUnreachableError, match="the Hub cannot be reached, or does not answer"):
        search("chatbot", "")
    assert [offer.hub_id for offer in in_local_cache("chatbot")] == ["qwen/qwen2-0.5b-gguf"]
    assert [offer.hub_id for offer in in_local_cache("sentiment-analysis", "MOOD")] == ["mood/distilbert"]
    assert in_local_cache("sentiment-analysis", "x") == in_local_cache("summarization") == []
    with pytest.raises(ConfigError) as error:
        register.main(["--search", "qwen", "--task", "chatbot"])
    assert str(error.value) == (
        "the Hub cannot be reached, or does not answer; in the local cache: qwen/qwen2-0.5b-gguf"
    )
    assert not capsys.readouterr().out


def test_the_command_prints_a_table_and_registers_nothing(
    hub: LocalHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "memory_budget", lambda: 2000)
    assert register.main(["--search", "qwen 0.5b", "--task", "chatbot", "--limit", "2"]) is None
    header, *rows, _, command, hint = capsys.readouterr().out.splitlines()
    assert header.split() == ["model", "kind", "parameters", "download", "memory", "downloads", "license"]
    assert rows[0].split()[0] == "qwen/qwen2-0.5b-gated"
    assert rows[0].endswith("gated, does not fit into 0.0 MB of memory")
    assert "GGUF" in rows[1] and "700" in rows[1] and "apache-2.0" in rows[1] and len(rows) == 2
    assert command.endswith("--task chatbot --model qwen/qwen2-0.5b-gated") and "owner/name:Q4_K_M" in hint


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--search", "nothing-like-it", "--task", "chatbot"], "search is 'nothing-like-it', which finds no model for"),
        (["--search", "qwen"], "search is for a single task; valid: task and search together"),
        (["--search", "qwen", "--task", "chatbot", "--limit", "0"], "limit is 0; valid"),
    ],
)
def test_a_search_that_finds_nothing_is_one_line(hub: LocalHub, arguments: list[str], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        register.main(arguments)
    assert str(error.value).startswith(said) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("status", "said"),
    [(429, "the Hub has had too many questions; try again later"), (500, "the Hub answers with status 500")],
)
def test_a_hub_that_is_busy_or_ill_is_one_line(
    status: int, said: str, hub: LocalHub, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)  # between the client's tries
    hub.refuse(status, times=9, path="/api/models")
    with pytest.raises(ConfigError) as error:
        register.main(["--search", "qwen", "--task", "chatbot"])
    assert str(error.value) == f"the list of models cannot be asked for now: {said}"
    assert not caplog.records


def test_the_tables_of_architectures_are_those_of_the_libraries() -> None:
    from transformers.models.auto import modeling_auto

    assert set(gguf.MODEL_ARCH_NAMES.values()) >= GGUF_ARCHITECTURES
    for task, mapping in ((name, record.mapping) for name, record in TASKS.items() if record.mapping):
        values = getattr(modeling_auto, mapping).values()
        assert classes(task) == {name for one in values for name in ((one,) if isinstance(one, str) else one)}
        assert len(classes(task)) > 10
