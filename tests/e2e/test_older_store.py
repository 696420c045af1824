"""What version 0.1.0 wrote still works: its registered models, interrupted runs, study and spool.

`tests/fixtures/store_0_1/README.md` says what is in the store and how it was made.
"""

import asyncio
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient

from experiments import train_cnn, train_seq2seq, tune
from experiments.config import CnnConfig
from experiments.training.resume import resumed_config
from tasks import open_task, registry
from tasks.runs.answers import recent_answers
from tasks.runs.trainings import finished_trainings, training_curves
from tasks.runtime.rows import RequestTask
from tests.support.gateway import Client, running
from tests.support.older_store import ASK_COPIES, NETWORKS, QUESTIONS, STUDY, active, runs, unpack
from tests.support.runs import artifacts, histories
from tests.support.serving import post, serving, serving_gateway
from tests.support.tracking_server import TrackingServer
from ui.results.leaderboard import HISTORY, lines
from ui.running.model_facts import facts
from ui.services import Services, registered, tasks_with_models

RUNNING = "attributes.status = 'RUNNING'"


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The store, active; nothing may change it."""
    store = unpack(tmp_path_factory.mktemp("older"))
    with active(store):
        yield store


@pytest.fixture(scope="module")
def second_copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy for the tests that write: each of them has runs of its own in it."""
    return unpack(tmp_path_factory.mktemp("changed"))


@pytest.fixture
def changed(second_copy: Path) -> Iterator[Path]:
    """The same, active."""
    with active(second_copy):
        yield second_copy


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_champion_answers_through_pyfunc_and_from_its_folder(older: Path, name: str) -> None:
    question = QUESTIONS[name]
    [answer] = mlflow.pyfunc.load_model(f"models:/{name}@champion").predict([question.row], question.parameters)
    question.check(answer)
    task = open_task(registry.model_folder(registry.find(name)))
    assert task.name == question.task
    task.load()
    question.check(task.run([question.row], question.parameters)[0])


@pytest.mark.parametrize(
    "names", [NETWORKS, pytest.param(tuple(QUESTIONS), marks=pytest.mark.full)], ids=["networks", "all"]
)
def test_the_code_logged_with_a_model_answers_without_this_checkout(
    older: Path, tmp_path: Path, names: tuple[str, ...]
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    questions = json.dumps({name: asdict(QUESTIONS[name]) for name in names})
    ended = subprocess.run(
        [sys.executable, "-c", ASK_COPIES],
        input=questions,
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    answers = json.loads(ended.stdout.splitlines()[-1])
    assert list(answers) == list(names)
    for name, (answer, code) in answers.items():
        QUESTIONS[name].check(answer)
        source = MlflowClient().get_model_version_by_alias(name, "champion").source or ""
        copy = next(older.glob(f"mlruns/*/models/{source.removeprefix('models:/')}/artifacts/code"))
        assert Path(code) == copy / "tasks" / "__init__.py"


@pytest.mark.full
@pytest.mark.parametrize("name", QUESTIONS)
def test_mlflow_models_serve_answers_with_every_champion(older: Path, tmp_path: Path, name: str) -> None:
    question = QUESTIONS[name]
    with serving(name, os.environ, tmp_path) as address:
        status, answer = post(address, {"inputs": [question.row], "params": question.parameters})
    assert status == 200, answer
    question.check(answer["predictions"][0])


def test_the_gateway_answers_with_every_champion(older: Path) -> None:
    async def ask_all() -> None:
        found: Any = SimpleNamespace(find=registry.find, listed=registry.versions)
        async with running(found=found, loads=lambda key: RequestTask(registry.load(key))) as gateway:
            for name, question in QUESTIONS.items():
                body = {"inputs": question.row, "params": question.parameters, "model": name}
                client = await Client(gateway.app, f"/tasks/{question.task}", body).ask()
                assert client.status == 200, client.content
                question.check(client.json())

    asyncio.run(ask_all())


@pytest.mark.full
def test_the_gateways_own_process_lists_and_serves_every_champion(older: Path) -> None:
    def ask(path: str, body: Any = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(server.address + path, content, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as response:
            return json.load(response)

    with serving_gateway(older / "mlflow.db") as server:
        assert "chatbot" in {model["id"] for model in ask("/v1/models")["data"]}
        for name, question in QUESTIONS.items():
            body = {"inputs": question.row, "params": question.parameters, "model": name}
            question.check(ask(f"/tasks/{question.task}", body))


def test_the_tool_lists_the_models_and_asks_them(older: Path) -> None:
    by_task = tasks_with_models(registered())
    champions = {one.name: one for versions in by_task.values() for one in versions if one.champion}
    assert {name: one.task for name, one in champions.items()} == {
        n: question.task for n, question in QUESTIONS.items()
    }
    assert {one.name for one in by_task["image-classification"]} == {"cnn-digits"}
    assert len(by_task["image-classification"]) == 2
    starter, reference = champions["sentiment-analysis"], champions["next-word-prediction"]
    assert starter.tags["starter"] == "true" and "apache-2.0" in " ".join(facts(starter))
    assert reference.tags["packaged"] == "false" and reference.tags["hub_id"] == reference.model
    assert "validation accuracy" in " ".join(facts(champions["cnn-digits"]))
    services = Services()
    try:
        for name in ("cnn-digits", "sentiment-analysis", "next-word-prediction"):
            question = QUESTIONS[name]
            question.check(services.submit(champions[name].key, question.row, question.parameters).result(120))
    finally:
        services.close()


def test_the_tool_lists_the_logged_answer_with_its_rating(older: Path) -> None:
    (answer,) = recent_answers()
    assert (answer.reference, answer.rating, answer.comment) == ("sentiment-analysis/1", 1, "It is.")
    assert answer.result["label"] == QUESTIONS["sentiment-analysis"].expected


def test_the_tool_lists_the_finished_trainings_and_their_leaderboard(older: Path) -> None:
    trainings = finished_trainings("image-classification")
    assert [(one.model, one.dataset, one.seed) for one in trainings] == [("lenet5", "digits", 1)] * 2
    assert [one.model for one in finished_trainings("sequence-reversal")] == ["gru-dot"]
    curves = training_curves([one.run_id for one in trainings], HISTORY)
    assert all(list(curve["val_loss"]) == [1, 2] for curve in curves.values())
    leaderboard = lines(trainings, curves, {}, each_run=True)
    assert len(leaderboard) == 2
    assert all(line.values["accuracy"].mean > 0.7 and line.validation > 0.7 for line in leaderboard)


def check_finished(run_id: str, epochs: int) -> None:
    """Raise AssertionError unless a run is finished, has each metric once a step, and registered one model."""
    client = MlflowClient()
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    logged = histories(run_id)
    assert {"train_loss", "val_loss", "val_accuracy", "test_loss", "test_accuracy"} <= logged.keys()
    for key, values in logged.items():
        expected = [int(run.data.tags["best_epoch"])] if key.startswith("test_") else list(range(1, epochs + 1))
        assert sorted(step for step, _ in values) == expected, key
    assert [version.run_id for version in client.search_model_versions(f"run_id = '{run_id}'")] == [run_id]
    assert len(client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run_id}'")) == 1


@pytest.mark.parametrize(("experiment", "program"), [("cnn", train_cnn), ("seq2seq", train_seq2seq)])
def test_an_interrupted_run_is_resumed(changed: Path, experiment: str, program: Any) -> None:
    (run,) = runs(experiment, RUNNING)
    before = histories(run.info.run_id)
    assert [step for step, _ in before["val_loss"]] == [1, 2]
    result = program.main(["--resume", run.info.run_id])
    assert result is not None and result.run_id == run.info.run_id
    check_finished(run.info.run_id, epochs=3)
    after = histories(run.info.run_id)
    assert all(after[name][:2] == values for name, values in before.items())


def test_a_configuration_that_lacks_a_later_field_keeps_its_behavior(older: Path) -> None:
    (run,) = runs("cnn", RUNNING)
    config, file = CnnConfig(resume=run.info.run_id), artifacts(run) / "config.json"
    whole, written = resumed_config(config, frozenset()), file.read_text()
    lacking = {name: value for name, value in json.loads(written).items() if name != "split_seed"}
    try:
        file.write_text(json.dumps(lacking))  # as if split_seed had been added later
        assert resumed_config(config, frozenset()) == whole
    finally:
        file.write_text(written)


def test_an_interrupted_study_gets_the_trial_that_it_lacks(changed: Path) -> None:
    (study,) = runs("tune", "tags.study_state != ''")
    nested = f"tags.`mlflow.parentRunId` = '{study.info.run_id}' and tags.trial != ''"
    before = {run.info.run_id: run.info.status for run in runs("tune", nested)}
    assert sorted(before.values()) == ["FINISHED", "FINISHED", "RUNNING"]
    assert tune.main(["--trials", "3", *STUDY]) is not None
    assert MlflowClient().get_run(study.info.run_id).info.status == "FINISHED"
    after = {run.info.run_id: run for run in runs("tune", nested)}
    finished = {run_id for run_id, run in after.items() if run.info.status == "FINISHED"}
    assert len(finished) == 3 and {run_id for run_id, status in before.items() if status == "FINISHED"} < finished
    assert not [run for run in after.values() if run.info.status == "RUNNING"]
    for run_id in finished:
        assert [step for step, _ in histories(run_id)["val_loss"]] == [1, 2]
        assert after[run_id].data.tags["trial_state"] == "complete" and "objective" in after[run_id].data.metrics


def resume_runs_that_lost_their_server(store: Path, experiment: str) -> None:
    """Resume the two runs of an experiment whose server went away after their first epoch, and check them.

    One was killed after its second epoch of three, the other reached its end.
    """
    by_epochs = {run.data.params["epochs"]: run.info.run_id for run in runs(experiment, RUNNING)}
    killed, ended = by_epochs["3"], by_epochs["2"]
    for run_id in (killed, ended):
        assert [step for step, _ in histories(run_id)["val_loss"]] == [1]
        assert (store / "spool" / run_id / "journal.jsonl").is_file()
    result = train_cnn.main(["--resume", killed])
    assert result is not None and result.run_id == killed
    check_finished(killed, epochs=3)
    train_cnn.main(["--resume", ended])
    check_finished(ended, epochs=2)


def test_resume_completes_runs_whose_server_went_away(changed: Path) -> None:
    resume_runs_that_lost_their_server(changed, "artifacts-shared")


@pytest.mark.full
def test_resume_completes_them_through_the_server_that_has_their_artifacts(tmp_path: Path) -> None:
    store = unpack(tmp_path)
    server = TrackingServer(f"sqlite:///{store / 'mlflow.db'}", store / "served")
    try:
        server.start()
        with active(store, server.uri):
            resume_runs_that_lost_their_server(store, "artifacts-served")
    finally:
        server.kill()
