"""Registering a pretrained model: when it becomes champion, and what is said when it does not."""

import shlex
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from mlflow import MlflowClient

from experiments import register
from experiments.config import RegisterConfig, cli
from experiments.evaluation.tasks import rows_sha256, sample_rows
from experiments.registration.report import Outcome
from tasks import registry
from tests.conftest import PROJECT_ROOT
from tests.support import tiny_models
from tests.support.evaluated_models import contrary

pytestmark = pytest.mark.full
Folders = Callable[[str], Path]
SENTIMENT, STORY = "sentiment-analysis", "story-completion"
# Of the sample's ten rows the tiny classifier has four right, and its contrary one.
BETTER, WORSE = "roberta-sentiment", "contrary"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """A function that gives the folder of a tiny model by its name; it is not to be changed."""

    def make(name: str) -> Path:
        folder = tmp_path_factory.mktemp("tiny") / f"tiny-{name}"
        return contrary(made(BETTER), folder) if name == WORSE else tiny_models.save(name, folder)

    made = cache(make)
    return made


def registered(task: str, folder: Path, *more: str) -> Outcome:
    (outcome,) = register.main(["--task", task, "--model", str(folder), *more]).outcomes
    return outcome


def champion(task: str) -> str:
    version = registry.champion(task)
    assert version is not None
    return str(version.version)


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out.splitlines()[-1]


def test_a_worse_model_does_not_dethrone_the_champion_and_a_better_one_does(
    store: Path, tiny: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    assert registered(SENTIMENT, tiny(WORSE)).champion
    assert "sentiment-analysis version 1 is the first and becomes champion" in capsys.readouterr().out
    better = registered(SENTIMENT, tiny(BETTER))
    assert better.champion and champion(SENTIMENT) == "2"
    assert better.decision == (
        "sentiment-analysis version 2 becomes champion: accuracy on the sample 0.4000, version 1 had 0.1000"
    )
    for model, score in ((WORSE, "0.1000"), (BETTER, "0.4000")):  # the latter is a tie
        capsys.readouterr()
        outcome = registered(SENTIMENT, tiny(model))
        assert not outcome.champion and champion(SENTIMENT) == "2"
        expected = f"its accuracy on the sample is 0.4000, version {outcome.version} has {score}; to make it champion"
        assert f"champion 2 of sentiment-analysis stays: {expected}" in last_line(capsys)
    tags = MlflowClient().get_model_version(SENTIMENT, "3").tags
    assert tags["sample_accuracy"] == "0.1" and tags["sample_sha256"] == rows_sha256(sample_rows(SENTIMENT))


def test_stories_are_compared_by_bits_per_byte_of_which_fewer_are_better(store: Path, tiny: Folders) -> None:
    """Perplexity, which people read first, is that of a token, and the models have different tokens."""
    assert [registered(STORY, tiny(name)).champion for name in ("gpt2", "llama", "gpt2")] == [True, True, False]
    bits = [float(MlflowClient().get_model_version(STORY, number).tags["sample_bits_per_byte"]) for number in "12"]
    assert bits[1] < bits[0] and champion(STORY) == "2"


def test_without_a_metric_the_champion_stays_and_the_line_says_how_to_promote(
    store: Path, tiny: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    assert registered("chatbot", tiny("qwen2")).champion
    assert not registered("chatbot", tiny("qwen2")).champion
    line = last_line(capsys)
    assert line.startswith("champion 1 of chatbot stays: version 2 has no score to compare it by; to make it champion")
    assert champion("chatbot") == "1"
    command = line.partition("all the same: ")[2]
    subprocess.run(shlex.split(command), cwd=PROJECT_ROOT, check=True, capture_output=True)
    assert champion("chatbot") == "2"
    run = MlflowClient().get_run(MlflowClient().get_model_version("chatbot", "2").run_id or "")
    assert command in run.data.tags["mlflow.note.content"]


def test_a_champion_that_cannot_be_compared_stays_until_the_user_says_otherwise(
    store: Path, tiny: Folders, capsys: pytest.CaptureFixture[str]
) -> None:
    client = MlflowClient()
    registered(SENTIMENT, tiny(WORSE))
    client.set_model_version_tag(SENTIMENT, "1", "sample_sha256", "an older sample")
    assert not registered(SENTIMENT, tiny(BETTER)).champion
    assert "champion 1 of sentiment-analysis stays: version 2 was measured on other data; to" in last_line(capsys)
    client.delete_model_version_tag(SENTIMENT, "1", "sample_accuracy")  # as versions were before they had scores
    assert not registered(SENTIMENT, tiny(BETTER)).champion
    assert "stays: it has no accuracy on the sample, version 3 has 0.4000; to make it" in last_line(capsys)
    assert not registered(SENTIMENT, tiny(BETTER), "--evaluate", "false").champion
    assert "stays: version 4 has no score to compare it by; to make it champion" in last_line(capsys)
    assert champion(SENTIMENT) == "1"
    assert registered(SENTIMENT, tiny(BETTER), "--champion", "true").champion and champion(SENTIMENT) == "5"
    assert registered(SENTIMENT, tiny(WORSE), "--champion", "true").champion and champion(SENTIMENT) == "6"


@pytest.mark.parametrize(
    ("typed", "means"),
    [("auto", None), ("true", True), ("True", True), ("yes", True), ("1", True), ("false", False), ("no", False)],
)
def test_champion_has_three_values_in_all_their_spellings(typed: str, means: bool | None) -> None:
    assert cli.parse(RegisterConfig, ["--champion", typed])[0].champion is means
    assert cli.parse(RegisterConfig, [])[0].champion is None
