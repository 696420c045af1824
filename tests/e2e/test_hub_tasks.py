"""Every task with tiny models of the catalog's architectures: found on the local Hub, downloaded, registered, run."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments import register
from tasks import TASKS, registry
from tasks.hub.search import search
from tests.support import tiny_diffusion, tiny_models
from tests.support.local_hub import LocalHub, local_hub, use_in_process
from tests.support.registering import OUTPUTS

CASES = [
    ("sentiment-analysis", "distilbert-sentiment"),
    ("sentiment-analysis", "roberta-sentiment"),
    ("summarization", "bart"),
    ("summarization", "t5"),
    ("next-word-prediction", "gpt2"),
    ("story-completion", "llama"),
    ("question-answering", "distilbert-qa"),
    ("question-answering", "roberta-qa"),
    ("chatbot", "qwen2"),
    ("image-generation", "stable-diffusion"),
]
pytestmark = pytest.mark.full


@pytest.fixture
def hub(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    with local_hub() as hub:
        use_in_process(hub, tmp_path / "cache", monkeypatch)
        yield hub


@pytest.mark.parametrize(("task", "name"), CASES)
def test_a_model_of_each_architecture_goes_from_the_search_to_an_answer(
    task: str, name: str, hub: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if task == "image-generation":
        folder = tiny_diffusion.save(tiny_diffusion.tiny_stable_diffusion(), tmp_path / "tiny")
    else:
        folder = tiny_models.save(name, tmp_path / "tiny")
    hub_id = f"someone/tiny-{name}"
    repository = hub.add(hub_id, folder, pipeline_tag=TASKS[task].pipeline_tag)
    hub.add("someone/tiny-pickles", {"pytorch_model.bin": b"x"}, pipeline_tag=TASKS[task].pipeline_tag)
    [offer] = search(task, "TINY someone")
    assert offer.hub_id == hub_id
    register.main(["--search", "tiny", "--task", task])
    assert hub_id in capsys.readouterr().out
    register.main(["--task", task, "--model", hub_id])
    version = registry.find(task)
    assert (version.tags["hub_id"], version.tags["revision"]) == (hub_id, repository.main)
    if task != "image-generation":  # whose parts the Hub does not count; in BART it counts a buffer too
        assert offer.parameters == pytest.approx(int(version.tags["parameters"]), rel=0.02)
    hub.close()  # the registered version is read from the cache
    loaded = registry.load(task)
    [answer] = loaded.run([loaded.example], loaded.example_parameters)
    assert isinstance(answer[OUTPUTS[task]], str)
