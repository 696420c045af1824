"""Downloads against the local Hub: resumed, checked, cancelled; what cannot be had is one line, and nothing is lost."""

import errno
import json
import shutil
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from huggingface_hub import scan_cache_dir

from tasks.deadline import within
from tasks.hub import fetch as fetching
from tasks.hub import memory
from tasks.hub.failures import HubUnreachableError, TokenRefusedError
from tasks.hub.fetch import DownloadProgress, discard, fetch, left_over
from tasks.hub.names import Source
from tasks.hub.repository import repository_folder
from tasks.hub.source import download, pinned_in_cache, read_source
from tests.support.downloads import ID, PARAMETERS, WEIGHTS, failure, plan
from tests.support.hub_models import safetensors, transformers_files
from tests.support.local_hub import TOKEN, LocalHub


def test_a_model_is_fetched_with_its_progress_in_bytes(hub: LocalHub) -> None:
    told: list[DownloadProgress] = []
    planned = plan()
    folder = fetch(planned, told.append)
    assert {path.name for path in folder.iterdir()} == {"config.json", WEIGHTS}
    assert (folder / WEIGHTS).read_bytes() == hub.repositories[ID].content(WEIGHTS)
    assert planned.bytes == sum(path.stat().st_size for path in folder.iterdir())
    assert [one.done for one in told] == sorted(one.done for one in told)
    assert told[-1].done == told[-1].total == planned.bytes and len(told) > 5
    assert planned.license == "apache-2.0" and planned.parameters == PARAMETERS
    assert planned.memory_bytes == 4 * PARAMETERS
    assert pinned_in_cache(Source(ID, "main"), "", gguf=False) == planned.source  # also offline


def test_a_download_that_breaks_off_is_resumed_and_nothing_that_came_is_lost(hub: LocalHub) -> None:
    hub.break_off(WEIGHTS, after=100_000, times=3)
    content = hub.repositories[ID].content(WEIGHTS)
    assert (fetch(plan()) / WEIGHTS).read_bytes() == content
    assert hub.sent[WEIGHTS] == len(content)
    assert sum(f"/{WEIGHTS}" in request for request in hub.asked if request.startswith("GET")) == 4


def test_a_server_that_sends_nothing_is_given_up(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []
    monkeypatch.setattr(fetching, "_append", lambda url, *_: tries.append(url))
    assert failure(lambda: fetch(plan())) == f"{WEIGHTS} of {ID} does not come: its answer is empty"
    assert len(tries) == fetching.TRIES


def test_a_stopped_download_is_resumed_by_the_next_call(hub: LocalHub) -> None:
    def stop(progress: DownloadProgress) -> None:
        if progress.done > 600_000:
            raise KeyboardInterrupt

    planned = plan()
    with pytest.raises(KeyboardInterrupt):
        fetch(planned, stop)
    kept = left_over(ID)
    assert 600_000 < kept < planned.bytes
    assert pinned_in_cache(Source(ID, "main"), "", gguf=False) is None
    # `hf cache prune` would remove it.
    assert sum(one.size_on_disk for one in scan_cache_dir(repository_folder(ID).parent).incomplete_files) == kept
    hub.sent.clear()
    told: list[DownloadProgress] = []
    folder = fetch(planned, told.append)
    assert (folder / WEIGHTS).read_bytes() == hub.repositories[ID].content(WEIGHTS)
    assert hub.sent[WEIGHTS] == len(hub.repositories[ID].content(WEIGHTS)) - kept
    assert told[1].done >= kept and left_over(ID) == 0


def test_what_is_left_over_is_removed_on_request(hub: LocalHub) -> None:
    hub.break_off(WEIGHTS, after=0, times=99)
    assert "cannot be reached" in failure(lambda: fetch(plan()))
    blob = next((repository_folder(ID) / "blobs").glob("*.incomplete"))
    blob.write_bytes(b"abc")
    assert left_over(ID) == discard(ID) == 3
    assert left_over(ID) == discard(ID) == 0


def test_two_downloads_of_a_model_at_once_fetch_it_once(hub: LocalHub) -> None:
    hold = hub.hold(WEIGHTS, after=100_000)
    planned, folders = plan(), []
    threads = [Thread(target=lambda: folders.append(fetch(planned))) for _ in range(2)]
    threads[0].start()
    assert hold.reached.wait(30)
    threads[1].start()
    hold.released.set()
    for thread in threads:
        thread.join(60)
    assert len(set(folders)) == 1 and len(folders) == 2
    assert hub.sent[WEIGHTS] == len(hub.repositories[ID].content(WEIGHTS))


def test_a_file_that_arrives_damaged_is_refused_and_removed(hub: LocalHub) -> None:
    planned = plan()
    file = next(file for file in planned.files if file.path == WEIGHTS)
    other = "0" * 64
    wrong = replace(planned, files=(replace(file, sha256=other, blob=other),))
    assert "arrived damaged: its sha256 is" in failure(lambda: fetch(wrong))
    assert left_over(ID) == 0 and not (repository_folder(ID) / "blobs" / other).exists()


def test_a_disk_without_room_is_said_before_the_download(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _path: usage._replace(free=1_000_000))
    assert f"{ID} needs 2.0 MB of disk, more than the 1.0 MB that are free in" in failure(lambda: fetch(plan()))
    assert hub.sent[WEIGHTS] == 0


def test_a_disk_that_fills_up_keeps_what_was_fetched(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(progress: DownloadProgress) -> None:
        if progress.done > 600_000:
            raise OSError(errno.ENOSPC, "No space left on device", "/cache")

    text = failure(lambda: fetch(plan(), fill))
    assert text == f"{ID} cannot be downloaded: no space left on the disk (/cache); what was fetched is kept"
    assert left_over(ID) > 600_000
    assert fetch(plan()).is_dir()


def test_the_hub_may_be_busy_or_ill_for_a_moment(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = plan()
    hub.refuse(429, times=2, path=WEIGHTS)
    hub.refuse(500, times=1, path="/cdn/")
    assert fetch(planned).is_dir()


@pytest.mark.parametrize(
    ("status", "said"),
    [(429, "the Hub has had too many questions; try again later"), (500, "the Hub answers with status 500")],
)
def test_a_hub_that_is_busy_or_ill_is_said(hub: LocalHub, status: int, said: str) -> None:
    hub.refuse(status, times=9, path="/api/models/")
    assert failure(plan) == f"{ID} cannot be asked for now: {said}"


@pytest.mark.parametrize(
    ("hub_id", "files", "facts", "said"),
    [
        ("nobody/nothing", None, {}, "nobody/nothing is not on the Hub, or is private: check the id, or log in"),
        ("own/private", {}, {"private": True}, "own/private is not on the Hub, or is private: check the id, or log in"),
        (
            "a/pickles",
            {"pytorch_model.bin": b"x"},
            {},
            "a/pickles has no weights as safetensors; pickles are not loaded",
        ),
        ("a/empty", {"README.md": b"x"}, {}, "a/empty has no weights as safetensors"),
        (
            "a/adapter",
            {"adapter_config.json": b"{}", "adapter_model.safetensors": safetensors(10)},
            {},
            "a/adapter holds an adapter; valid: a whole model, merged with its adapter",
        ),
    ],
)
def test_what_cannot_be_had_is_one_line(
    hub: LocalHub, hub_id: str, files: dict[str, bytes] | None, facts: dict[str, Any], said: str
) -> None:
    if files is not None:
        hub.add(hub_id, files, **facts)
    assert failure(lambda: plan(hub_id=hub_id)) == said
    assert not repository_folder(hub_id).exists()


def test_a_gated_model_asks_for_a_token_and_is_fetched_with_one(hub: LocalHub) -> None:
    gated = hub.add("gated/model", transformers_files(), gated="auto")
    planned = plan(hub_id="gated/model")  # what it is may be seen by all
    said = failure(lambda: fetch(planned))
    assert said.startswith("gated/model is gated: accept its terms on its page, and log in")
    assert failure(lambda: fetch(planned, token=TOKEN)).startswith("gated/model is gated")  # not yet accepted
    gated.accepted = True
    assert (fetch(planned, token=TOKEN) / WEIGHTS).is_file()
    assert hub.seen_tokens == {"hub": {TOKEN}, "cdn": set()}, "the token left the Hub's own address"


def test_a_private_model_is_fetched_with_a_token_of_the_environment(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.add("own/private", transformers_files(), private=True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert fetch(plan(hub_id="own/private")).is_dir()


@pytest.mark.parametrize("wrong", ["hf_wrongToken", "hf_wrong\xe9Token"])
def test_a_wrong_token_is_said_and_not_shown(hub: LocalHub, wrong: str) -> None:
    with pytest.raises(TokenRefusedError) as error:
        plan(token=wrong)
    assert str(error.value).startswith("the Hub does not know the token; valid: ")
    told: Any = error.value
    while told is not None:
        assert wrong not in str(told)
        told = told.__cause__


def test_a_changed_main_is_fetched_anew_and_a_commit_stays(hub: LocalHub) -> None:
    assert failure(lambda: plan("v9")) == f"{ID} has no revision v9"
    first = plan()
    old = fetch(first)
    hub.repositories[ID].commit({**transformers_files(), WEIGHTS: safetensors(PARAMETERS, fill=2)})
    new = fetch(plan())
    assert new != old and new.name == hub.repositories[ID].main
    assert (new / WEIGHTS).read_bytes() != (old / WEIGHTS).read_bytes()
    hub.close()
    assert download(first.source) == old


def test_a_hub_that_is_away_is_said_at_once(hub: LocalHub) -> None:
    hub.close()
    with pytest.raises(HubUnreachableError, match=f"{ID} is not in the local cache, and the Hub cannot be reached"):
        plan()


def test_a_question_that_is_never_answered_is_given_up(hub: LocalHub) -> None:
    hold = hub.hold(WEIGHTS, after=0)
    with pytest.raises(TimeoutError, match="no answer within"):
        within(0.01, hold.released.wait)
    hold.released.set()


def test_a_model_larger_than_the_memory_is_said_before_the_download(
    hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "on_gpu", lambda: False)
    monkeypatch.setenv("PROJECT_DL_MEMORY_GB", "0.001")
    said = failure(lambda: memory.check_memory(plan()))
    assert said.startswith(f"{ID} needs 2.0 MB of memory, more than the 1.0 MB that there are for models")
    monkeypatch.setattr(memory, "on_gpu", lambda: True)  # half precision
    memory.check_memory(plan())
    monkeypatch.setattr(memory, "on_gpu", lambda: False)
    monkeypatch.setenv("PROJECT_DL_MEMORY_GB", "1")
    memory.check_memory(plan())


def test_a_source_with_a_wrong_file_is_refused(tmp_path: Path) -> None:
    for file in ("../x.gguf", "/etc/x.gguf", "x.bin", "a\nb.gguf", 3):
        (tmp_path / "source.json").write_text(json.dumps({"hub_id": ID, "revision": "main", "file": file}))
        assert "file is" in failure(lambda: read_source(tmp_path))
