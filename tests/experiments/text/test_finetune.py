"""The entry point `finetune` on tiny models: what a run leaves behind, exact resume, heads, what is refused."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pandas as pd
import pytest
import torch
from accelerate import Accelerator
from mlflow import MlflowClient
from safetensors.torch import load_file
from transformers import BertConfig, ViTConfig, ViTModel

from experiments import finetune
from experiments.config import ConfigError, FinetuneConfig
from experiments.text.report import TEXT
from experiments.text.setup import TextTraining, recipe
from tasks.registry import find, load, promote
from tests.conftest import PROJECT_ROOT
from tests.support import tiny_models
from tests.support.registering import COMMIT
from tests.support.runs import (
    all_runs,
    artifacts,
    assert_same_weights,
    cut_off_at,
    histories,
    only_run,
    uninterrupted,
    weights,
)
from tests.support.tiny_encoder import save_encoder, train_epochs

FILMS = {
    "praise": ["wonderful", "very happy"],
    "blame": ["terrible", "a waste of time"],
    "time": ["in London", "in 1843"],
}
TINY = ["--epochs", "10", "--threads", "1", "--precision", "fp32", "--learning_rate", "0.01", "--patience", "0"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_models.save("roberta-sentiment", tmp_path_factory.mktemp("roberta")))


@pytest.fixture
def data(tmp_path: Path) -> str:
    return write(tmp_path / "films.csv")


def write(path: Path, size: int = 120, labels: dict[str, list[str]] = FILMS, wrong: float = 0.0) -> str:
    """Texts whose words say their class, but for a fraction of them."""
    rng = random.Random(0)
    names = [list(labels)[number % len(labels)] for number in range(size)]
    texts = [
        f"The {rng.choice(['dog', 'cat'])} {number} was {rng.choice(labels[name])}" for number, name in enumerate(names)
    ]
    names = [rng.choice(list(labels)) if rng.random() < wrong else name for name in names]
    pd.DataFrame({"text": texts, "label": names}).to_csv(path, index=False)
    return str(path)


def prepared(accelerator: Accelerator, **values: Any) -> TextTraining:
    given = FinetuneConfig(threads=1, precision="fp32", device="cpu", register=False, **values)
    return TEXT.prepare(TEXT.decide(given), accelerator)


@pytest.mark.figures
def test_a_run_leaves_behind_all_that_the_contract_names(store: Path, model: str, data: str) -> None:
    result = finetune.main([*TINY, "--data", data, "--model", model])
    assert result is not None and result.metrics["test_accuracy"] > 0.9
    run = only_run()
    assert (run.info.status, run.info.run_name) == ("FINISHED", "roberta0 on films, seed 0")
    assert run.data.tags["task"] == "sentiment-analysis" and run.data.tags["dataset"] == "films.csv"
    assert run.data.tags["data_verified"] == "false" and "auto" not in run.data.params.values()
    folder = artifacts(run)
    figures = {"loss_curve.png", "accuracy_curve.png", "confusion_matrix.png", "per_class.png"}
    assert {path.name for path in (folder / "plots").iterdir()} == figures
    report = json.loads((folder / "reports/classification_report.json").read_text())
    assert set(report) >= set(FILMS) and report["accuracy"] == pytest.approx(result.metrics["test_accuracy"])
    saved = np.load(folder / "reports/test_predictions.npz")
    assert saved["probabilities"].shape == (24, 3)
    assert json.loads((folder / "reports/data_report.json").read_text())["classes"]["praise"] == {
        "train": 28,
        "val": 4,
        "test": 8,
    }
    wrong = pd.read_csv(folder / "reports/test_mistakes.csv")
    assert len(wrong) == round(24 * (1 - report["accuracy"])) and (wrong["label"] != wrong["predicted"]).all()
    # The registered version answers with these classes, and explains them by words.
    task = load("sentiment-analysis", "cpu")
    text = "The dog 7 was in London"
    [answer] = task.run([{"text": text}], {"explain": True})
    assert set(answer["scores"]) == set(FILMS) and answer["label"] == "time"
    assert {word["word"] for word in answer["words"]} == set(text.split())
    assert max(answer["words"], key=lambda word: word["weight"])["word"] in ("in", "London")


def test_a_killed_run_is_resumed_to_the_same_weights_and_stops_when_validation_does(
    store: Path, model: str, data: str, tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(Path(data), wrong=0.3)  # or every epoch would bring validation a little further
    arguments = [*TINY, "--data", data, "--model", model, "--epochs", "30", "--patience", "4", "--register", "false"]
    (tmp_path / "whole").mkdir()
    expected = uninterrupted(finetune.main, arguments, tmp_path / "whole", empty_store)
    epochs = len(expected[0]["val_loss"])
    assert 4 < epochs < 30
    with cut_off_at(3, monkeypatch):
        finetune.main(arguments)
    run_id = only_run().info.run_id
    changed = Path(data).read_text().replace("The dog", "A dog")
    (tmp_path / "other.csv").write_text(changed)
    with pytest.raises(
        ConfigError, match=r"the data_sha256 of other.csv is .*valid: the data that the run was started"
    ):
        finetune.main(["--resume", run_id, "--data", str(tmp_path / "other.csv")])
    Path(data).rename(tmp_path / "moved.csv")
    with pytest.raises(ConfigError, match="and there is no such file"):
        finetune.main(["--resume", run_id])
    assert finetune.main(["--resume", run_id, "--data", str(tmp_path / "moved.csv")]) is not None
    assert histories(run_id) == expected[0]
    assert_same_weights(weights(run_id, epochs), expected[1])


def test_a_version_becomes_champion_where_the_contract_says_so_or_the_user(store: Path, model: str, data: str) -> None:
    arguments = [*TINY, "--data", data, "--model", model, "--epochs", "1"]
    first = finetune.main([*arguments, "--champion", "false"])
    assert first is not None and first.registry == "sentiment-analysis version 1 is registered"
    promote("sentiment-analysis", 1)
    MlflowClient().set_model_version_tag("sentiment-analysis", "1", "data_sha256", "other")
    second = finetune.main(arguments)
    assert second is not None and second.registry.endswith("stays: version 2 was measured on other data")
    third = finetune.main([*arguments, "--champion", "true"])
    assert third is not None and third.registry == "sentiment-analysis version 3 is champion, as asked"
    tags = find("sentiment-analysis").tags
    assert tags["classes"] == "blame, praise, time" and tags["base_model"] == Path(model).name


def last_layer(trained: TextTraining) -> torch.Tensor:
    return next(value for name, value in trained.state.network.state_dict().items() if name.endswith("out_proj.weight"))


def test_a_model_of_the_same_classes_keeps_its_head_and_their_order(
    tmp_path: Path, model: str, accelerator: Accelerator
) -> None:
    stored = load_file(Path(model) / "model.safetensors")["classifier.out_proj.weight"]
    same = {"Positive": ["wonderful"], "negative": ["terrible"], "neutral": ["in 1843"]}
    kept = prepared(accelerator, model=model, data=write(tmp_path / "same.csv", labels=same))
    assert kept.data.classes == ("negative", "neutral", "Positive") and torch.equal(last_layer(kept), stored)
    assert kept.data.part("test")[0][0].endswith(same[kept.data.classes[kept.data.part("test")[1][0]]][0])
    other = prepared(accelerator, model=model, data=write(tmp_path / "other.csv"))
    two = prepared(accelerator, model=model, data=write(tmp_path / "two.csv", labels={"a": ["a"], "b": ["b"]}))
    assert last_layer(other).shape == stored.shape and not torch.equal(last_layer(other), stored)
    assert last_layer(two).shape == (2, 32)
    # The body is the model's own, unless random weights are asked for; the same ones for a seed.
    body = "roberta.encoder.layer.0.output.dense.weight"
    scratch, again, seeded = (
        prepared(accelerator, model=model, data=str(tmp_path / "two.csv"), weights="random", seed=seed)
        for seed in (0, 0, 1)
    )
    bodies = [made.state.network.state_dict()[body] for made in (two, scratch, again, seeded)]
    assert torch.equal(bodies[0], load_file(Path(model) / "model.safetensors")[body])
    assert torch.equal(bodies[1], bodies[2]) and not torch.equal(bodies[1], bodies[0])
    assert not torch.equal(bodies[1], bodies[3])


@pytest.mark.parametrize("name", ["distilbert-sentiment", "distilbert-qa", "gpt2", "bert"])
def test_other_architectures_learn_as_well(name: str, data: str, tmp_path: Path, accelerator: Accelerator) -> None:
    folder = save_encoder(tmp_path / "bert") if name == "bert" else tiny_models.save(name, tmp_path / name)
    if name == "gpt2":  # a classifier, in form; its tokenizer has no token to fill up with
        rewrite(folder, architectures=["GPT2ForSequenceClassification"])
    made = prepared(accelerator, model=str(folder), data=data, learning_rate=0.003, epochs=6)
    before = made.evaluate(made.state.network)["loss"]
    train_epochs(made, 3)
    assert made.state.history[-1]["val_loss"] < before


def rewrite(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def test_rare_classes_and_long_texts_are_taken_care_of(tmp_path: Path, model: str, accelerator: Accelerator) -> None:
    rows = [("film " * 200_000, "odd")] + [(f"odd {number}", "odd") for number in range(9)]
    rows += [(f"film {number}", "even") for number in range(40)]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps({"text": text, "label": label}) for text, label in rows))
    made = prepared(accelerator, model=model, data=str(file), max_tokens=16)
    assert made.weights is not None and made.weights.tolist() == pytest.approx([35 / 56, 35 / 14])
    assert max(len(item.tokens) for items in made.items.values() for item in items) == 16
    assert "texts longer than 16 tokens: 1; training reads their beginning" in made.data.warnings[-1]
    assert prepared(accelerator, model=model, data=str(file), balance=False).weights is None
    with pytest.raises(ConfigError, match=r"max_tokens is 65; valid for .*: 8 to 64"):
        prepared(accelerator, model=model, data=str(file), max_tokens=65)
    with pytest.raises(ConfigError, match="batch_size is 36; valid: 1 to 35"):
        prepared(accelerator, model=model, data=str(file), batch_size=36)


def test_few_texts_get_more_epochs_and_large_models_smaller_steps() -> None:
    assert [recipe(texts, 10**7)["epochs"] for texts in (20, 700, 10**5)] == [40, 6, 3]
    assert recipe(9, 10**7)["batch_size"] == 9
    assert recipe(700, 10**8)["learning_rate"] < recipe(700, 10**7)["learning_rate"]


def pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def vision(folder: Path) -> None:
    shutil.rmtree(folder)
    ViTModel(ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)).save_pretrained(
        folder
    )


def half(folder: Path) -> None:
    rewrite(folder, num_hidden_layers=3)


def narrow(folder: Path) -> None:
    rewrite(folder, hidden_size=64)


def damaged(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"no weights")


def speechless(folder: Path) -> None:
    for path in folder.glob("tokenizer*"):
        path.unlink()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (pickles, "weights are read as safetensors or GGUF, and the folder has neither"),
        (shutil.rmtree, "valid for sentiment-analysis: .*the id of a model on the Hugging Face Hub"),
        (vision, "holds a model of type 'vit', which cannot classify texts; valid: an encoder or text classifier"),
        (half, "its weights lack roberta.encoder.layer.2"),
        (narrow, "its weights lack roberta.embeddings"),
        (damaged, "does not hold a model that can be loaded"),
        (speechless, "the tokenizer in .*a model knows nothing of what is in films.csv"),
    ],
)
def test_models_that_cannot_be_fine_tuned_are_refused(
    change: Any, expected: str, store: Path, model: str, data: str, tmp_path: Path
) -> None:
    folder = tmp_path / "a model"
    shutil.copytree(model, folder)
    change(folder)
    with pytest.raises(ConfigError, match=expected) as error:
        finetune.main([*TINY, "--data", data, "--model", str(folder)])
    assert "\n" not in str(error.value) and not all_runs()


@pytest.mark.parametrize("model", ["missing folder", "{data}", "pickles"])
def test_mistakes_are_said_before_torch_is_loaded(model: str, data: str, tmp_path: Path) -> None:
    (tmp_path / "pickles").mkdir()
    (tmp_path / "pickles/config.json").write_text(BertConfig().to_json_string())
    (tmp_path / "pickles/pytorch_model.bin").write_bytes(b"x")
    program = (
        "import sys\nfrom experiments import finetune\nfrom experiments.config import ConfigError\n"
        "try: finetune.main(sys.argv[1:])\nexcept ConfigError as error: print(error)\n"
        "print(sorted({'torch', 'mlflow', 'transformers'} & set(sys.modules)))"
    )
    given = ["--data", data, "--model", model] if model != "{data}" else ["--data", "nothing.csv"]
    command = [sys.executable, "-c", program, *given]
    environment = {"PYTHONPATH": str(PROJECT_ROOT), "PATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.stdout.splitlines()[1:] == ["[]"], done.stdout + done.stderr


def test_a_model_of_the_hub_is_pinned_to_its_commit(
    model: str, data: str, tmp_path: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "hub" / "models--acme--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    shutil.copytree(model, repository / "snapshots" / COMMIT)
    made = prepared(accelerator, model="acme/tiny", data=data)
    assert made.config.revision == made.tags()["base_revision"] == COMMIT
    assert made.title == "acme/tiny on films, seed 0"
    with pytest.raises(ConfigError, match=r"^model: .*acme/other") as error:
        prepared(accelerator, model="acme/other", data=data)
    assert "\n" not in str(error.value)
