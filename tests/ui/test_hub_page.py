"""The page Models, "Find on the Hub": search, download by a click, token, what is left over; against the local Hub."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks import registry
from tasks.hub.fetch import left_over
from tasks.hub.repository import repository_folder
from tests.support.gateway import version
from tests.support.hub_models import gguf_bytes, transformers_files
from tests.support.local_hub import TOKEN, LocalHub, local_hub, use_in_process
from tests.support.pages import texts
from tests.support.processes import a_process
from ui.hub import finding
from ui.running import process_cards, processes
from ui.running.live_run import fetched
from ui.running.processes import FINISHED, RUNNING, STOPPED, Process

TAB, PAGE = "models-tab", "Find on the Hub"
CHAT = {**transformers_files("Qwen2ForCausalLM"), "chat_template.jinja": b"{{ messages }}"}
GGUF = "a/qwen-0.5b-gguf"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    with local_hub() as hub:
        content = gguf_bytes(tmp_path, "qwen2")
        hub.add(GGUF, {"q-q4_k_m.gguf": content, "q-q8_0.gguf": content}, downloads=700)
        hub.add("a/qwen-0.5b", CHAT, gated="auto", downloads=500, license="<b>mine</b>")
        hub.add("own/qwen-0.5b", CHAT, private=True)
        use_in_process(hub, tmp_path / "cache", monkeypatch)
        yield hub


def process(state: str = STOPPED, **changes: Any) -> Process:
    return a_process(state, "register", **{"values": {"task": "chatbot", "model": GGUF}, "ended": 2.0, **changes})


def searched(page: Any, words: str = "qwen", task: str = "chatbot") -> Any:
    app = page("models")
    app.session_state[TAB] = PAGE
    app.run()
    app.selectbox(key="hub-task").set_value(task)
    app.text_input(key="hub-words").set_value(words)
    return app.button(key="hub-go").click().run()


def test_a_search_lists_what_can_run_and_a_click_fetches_it(empty_tool, page, hub: LocalHub, started: list) -> None:
    app = searched(page, "QWEN 0.5b")
    shown = texts(app)
    assert not app.error
    assert f"**{GGUF}**" in shown and "700 downloads" in shown and "license apache-2.0" in shown
    assert "own/qwen" not in shown
    assert not any("<b>" in element.value and "\\<b" not in element.value for element in app.caption)
    app.button(key=f"hub-get-chatbot-{GGUF}").click().run()
    assert started == [("register", {"task": "chatbot", "model": GGUF})]
    assert "Started: Registration of" in texts(app)


def test_a_quantization_can_be_chosen(empty_tool, page, hub: LocalHub, started: list) -> None:
    app = searched(page)
    app.button(key=f"hub-ask-chatbot-{GGUF}").click().run()
    choice = app.selectbox(key=f"hub-variant-chatbot-{GGUF}")
    assert choice.options == ["Q4_K_M (0.0 MB)", "Q8_0 (0.0 MB, suggested)"] and choice.value == "Q8_0"
    choice.set_value("Q4_K_M").run()
    app.button(key=f"hub-get-chatbot-{GGUF}").click().run()
    assert started[0][1] == {"task": "chatbot", "model": f"{GGUF}:Q4_K_M"}


def test_a_token_is_used_and_shown_nowhere(empty_tool, page, hub: LocalHub, started: list) -> None:
    app = searched(page)
    app.text_input(key="hub-token-field").set_value(TOKEN)
    app.button(key="hub-token-use").click().run()
    assert "Your token is used until you close this page" in texts(app)
    assert not [field for field in app.text_input if field.key == "hub-token-field"]
    app.button(key="hub-go").click().run()
    assert "**own/qwen-0.5b**" in texts(app)
    app.button(key="hub-get-chatbot-own/qwen-0.5b").click().run()
    assert started[0][2] == {"HF_TOKEN": TOKEN}
    assert TOKEN not in texts(app)
    app.button(key="hub-token-forget").click().run()
    app.button(key="hub-go").click().run()
    assert "own/qwen-0.5b**" not in texts(app)


def test_what_cannot_be_a_token_is_refused(empty_tool, page, hub: LocalHub) -> None:
    app = searched(page)
    app.text_input(key="hub-token-field").set_value("hf_p\xe9")
    app.button(key="hub-token-use").click().run()
    assert [error.value for error in app.error] == ["That is not a token; valid: one of huggingface.co/settings/tokens"]
    assert "hf_p" not in texts(app)


def test_a_wrong_token_is_one_line(empty_tool, page, hub: LocalHub) -> None:
    app = searched(page)
    app.text_input(key="hub-token-field").set_value("hf_wrong")
    app.button(key="hub-token-use").click().run()
    app.button(key="hub-go").click().run()
    assert [error.value.replace("\\", "") for error in app.error] == [
        "the Hub does not know the token; valid: one of huggingface.co/settings/tokens"
    ]


def test_a_search_that_finds_nothing_says_so(empty_tool, page, hub: LocalHub) -> None:
    app = searched(page, "nothing-like-it")
    assert not app.error and "No model for Chatbot whose name has “nothing-like-it” can run here" in texts(app)


def test_offline_the_cache_is_offered(empty_tool, page, hub: LocalHub, started: list) -> None:
    from tasks.hub.fetch import fetch

    fetch(finding.quantizations("chatbot", GGUF, None))
    hub.close()
    app = searched(page)
    assert "the Hub cannot be reached, or does not answer" in texts(app)
    assert "in the local cache" in texts(app)
    app.button(key=f"hub-get-chatbot-{GGUF}").click().run()
    assert started[0][1]["model"] == GGUF


def test_what_is_too_large_cannot_be_clicked(empty_tool, page, hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROJECT_DL_MEMORY_GB", "0.000001")
    app = searched(page)
    assert app.button(key=f"hub-get-chatbot-{GGUF}").disabled


@pytest.mark.parametrize("model", [f"{GGUF}:Q8_0", "gpt2"])  # the oldest have no owner
def test_a_stopped_download_is_resumed_or_its_rest_removed(
    empty_tool, page, hub: LocalHub, started: list, monkeypatch: pytest.MonkeyPatch, model: str
) -> None:
    hub_id, folder = model.split(":")[0], process(values={"task": "chatbot", "model": "./folder"})
    stopped = process(values={"task": "chatbot", "model": model})
    monkeypatch.setattr(process_cards, "processes", lambda: [stopped])
    monkeypatch.setattr("ui.hub.panel.processes", lambda: [stopped, folder])
    blob = repository_folder(hub_id) / "blobs" / "x.incomplete"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(bytes(2_000_000))
    app = searched(page)
    assert f"{hub_id}: 2.0 MB of an unfinished download are kept for the next try." in texts(app)
    app.button(key=f"again-{stopped.id}").click().run()
    assert started[0][1] == dict(stopped.values)
    monkeypatch.setattr("ui.hub.panel.processes", lambda: [replace(stopped, state=RUNNING), stopped])
    assert "unfinished" not in texts(app.run())  # it is being written to
    monkeypatch.setattr("ui.hub.panel.processes", lambda: [stopped])
    app.run()
    app.button(key=f"hub-discard-{hub_id}").click().run()
    assert not app.error
    assert left_over(hub_id) == 0 and "unfinished" not in texts(app)


def test_a_finished_registration_opens_in_its_task(tool, page, hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    first = registry.find("chatbot")
    made = registry.register(first.source, "chatbot", {**first.tags, "model": GGUF, "hub_id": GGUF})
    done = process(FINISHED)
    monkeypatch.setattr(process_cards, "processes", lambda: [done])
    app = searched(page)
    links = [link.proto for link in app.get("page_link") if link.proto.label == "Open in its task"]
    assert len(links) == 1 and f"chatbot%2F{made.version}" in links[0].query_string.replace("/", "%2F")
    assert "registered" in " ".join(str(one) for one in app.get("badge")) or "registered" in texts(app)


def test_the_version_of_a_registration_is_found() -> None:
    versions = [version("x", "chatbot", number) for number in (1, 2, 3)]
    versions = [replace(one, model=model) for one, model in zip(versions, ("a/b", "a/b", "c/b:Q8_0"), strict=True)]
    for model, number in (("a/b", 2), ("b", 2), ("c/b:Q8_0", 3)):
        made = finding.ready_version({"task": "chatbot", "model": model}, versions)
        assert made is not None and made.version == number
    for values in ({"task": "chatbot", "model": "c/b"}, {"task": "chatbot"}, {"task": "summarization", "model": "b"}):
        assert finding.ready_version(values, versions) is None


def test_a_private_variable_reaches_the_program_and_no_file(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}

    def popen(command: list[str], **options: Any) -> Any:
        found.update(options["env"])
        raise OSError(2, "enough for this test")

    monkeypatch.setattr(processes.subprocess, "Popen", popen)
    monkeypatch.setattr(processes.shutil, "rmtree", lambda *_arguments, **_options: None)
    with pytest.raises(processes.ProcessError):
        processes.start("register", {"task": "chatbot"}, {"HF_TOKEN": TOKEN})
    assert found["HF_TOKEN"] == TOKEN
    files = [path for path in processes.home().rglob("*") if path.is_file()]
    assert files and not any(TOKEN in path.read_text() for path in files)
    assert json.loads(files[0].read_text())["entry"] == "register"


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("[1/1] chatbot: a/b\n      downloaded 45.1 of 93.2 MB (48%), 12.0 MB/s, 4 s left   ", 0.48),
        ("      downloaded 93.2 of 93.2 MB (100%)\n      weights ready (3.0 s)", None),
        ("", None),
    ],
)
def test_the_bar_follows_what_the_program_prints(log: str, expected: float | None) -> None:
    found = fetched(log)
    assert (found and found[0]) == expected
    assert found is None or re.fullmatch(r"downloaded \S+ of .* left", found[1])
