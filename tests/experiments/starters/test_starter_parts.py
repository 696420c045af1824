"""What all starters share: splits by title, small weights, model cards, the evaluation of several."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from mlflow import MlflowClient
from safetensors.torch import load_file

from experiments import evaluate, starter
from experiments.config import ConfigError, TrainingError, UserError
from experiments.registration.folder import front_matter
from experiments.starters import card, corpora, evaluation, training, weights
from experiments.starters.starter import Figure, Judgment, Starter
from tests.support import tiny_models

pytestmark = pytest.mark.usefixtures("few_objects")


def test_titles_are_held_out_in_the_share_asked_for_and_the_same_ones_everywhere() -> None:
    titles = [f"story {number}" for number in range(4000)]
    kept = [title for title in titles if corpora.held_out(title, 0.1)]
    assert 320 < len(kept) < 480
    assert set(kept) <= {title for title in titles if corpora.held_out(title, 0.3)}
    # Drawn once by hand: another machine or Python must not draw others.
    assert [number for number in range(30) if corpora.held_out(f"story {number}", 0.1)] == [0, 9, 11, 28]
    assert kept != [title for title in titles if corpora.held_out(title, 0.1, salt="other")]


def test_a_digest_knows_order_and_cuts() -> None:
    digests = {corpora.digest(texts) for texts in (["ab", "c"], ["a", "bc"], ["c", "ab"], ["abc"], ["abc", ""])}
    assert len(digests) == 5


def test_missing_data_are_named_with_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"text/squad does not exist.*docs/starters.md"):
        corpora.text_folder(tmp_path, "squad")
    (tmp_path / "text" / "squad").mkdir(parents=True)
    with pytest.raises(UserError, match=r"squad.json does not exist"):
        corpora.text_file(tmp_path, "squad", "squad.json")


@pytest.mark.parametrize(("keep", "bytes_each", "error"), [("fp16", 2, 5e-4), ("fp8", 1, 0.07)])
def test_small_weights_load_as_float32_in_any_tool(keep: str, bytes_each: int, error: float, tmp_path: Path) -> None:
    source = tiny_models.save("roberta-sentiment", tmp_path / "source")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(source)
    weights.save_small(model, transformers.AutoTokenizer.from_pretrained(source), tmp_path / "small", keep)
    stored = load_file(tmp_path / "small" / weights.WEIGHTS)
    assert all(value.element_size() == (bytes_each if value.ndim > 1 else 2) for value in stored.values())
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "small")
    for (name, before), (_, after) in zip(model.named_parameters(), loaded.named_parameters(), strict=True):
        assert after.dtype == torch.float32
        assert torch.allclose(before, after, rtol=error, atol=2e-3), name


def test_weights_that_a_format_cannot_hold_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"large": torch.full((2, 2), 1000.0)}, tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match="large has values up to 1000; fp8 holds up to 448"):
        weights.shrink(tmp_path / "w.safetensors", "fp8")
    save_file({"bad": torch.full((2, 2), float("nan"))}, tmp_path / "n.safetensors")
    with pytest.raises(ConfigError, match="bad has values up to nan"):
        weights.shrink(tmp_path / "n.safetensors", "fp16")


def a_starter(name: str, judge: Any, folder: Path | None = None) -> Starter:
    found = Starter(name, ("chatbot",), None, judge, "## What it is\n\nSmall.", {"license": "mit"})  # type: ignore[arg-type]
    if folder is not None:
        object.__setattr__(found, "name", str(folder))
    return found


def test_figures_are_written_into_the_card_and_again(tmp_path: Path) -> None:
    one = a_starter("chatbot", None)
    card.write(tmp_path, one, {"time": "3 minutes | 1 thread"})
    text = (tmp_path / card.CARD).read_text()
    assert text.startswith("---\nlicense: mit\n") and card.NOT_YET in text and "3 minutes \\| 1 thread" in text
    assert front_matter(tmp_path)["tags"] == ["project-dl", "starter", "chatbot"]
    for value in (0.5, 0.25):
        card.write_figures(tmp_path, one, Judgment((Figure("loss", value, "before 1.0"),), "> Hello \\1"), "a laptop")
        one = dataclasses.replace(one, about="## What it is\n\nSmaller still.")
    text = (tmp_path / card.CARD).read_text()
    assert "Smaller still." in text and "3 minutes \\| 1 thread" in text
    assert "| loss | 0.250 | before 1.0 |" in text and "0.500" not in text and text.count("> Hello \\1") == 1
    assert "a laptop" in text and card.NOT_YET not in text
    (tmp_path / card.CARD).write_text("mine")
    with pytest.raises(UserError, match="no model card of a starter"):
        card.write_figures(tmp_path, one, Judgment(()), "")
    assert (tmp_path / card.CARD).read_text() == "mine" and front_matter(tmp_path) == {}


def test_every_starter_is_measured_and_one_that_fails_holds_up_no_other(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(folder: Path, data_dir: Path) -> Judgment:
        raise UserError(f"{data_dir} does not exist")

    good, bad = tmp_path / "good", tmp_path / "bad"
    found = [a_starter("bad", refuse, bad), a_starter("good", None, good)]
    figures = Judgment((Figure("EM on SQuAD (6 articles)", 0.5), Figure("perplexity", 12.25, "5-gram 20", 2)), "> Hi")
    object.__setattr__(found[1], "judge", lambda folder, data_dir: figures)
    for one in found:
        one.folder.mkdir()
        card.write(one.folder, one, {})
    monkeypatch.setattr(evaluation, "starters", lambda task: found)
    with pytest.raises(TrainingError, match=f"not measured: {bad}"):
        evaluate.main(["--write", "true", "--data_dir", "no-data"])
    told = capsys.readouterr().out
    assert "was not measured: no-data does not exist" in told and "12.25  5-gram 20" in told
    assert "| perplexity | 12.25 |" in (good / card.CARD).read_text() and card.NOT_YET in (bad / card.CARD).read_text()
    experiment = MlflowClient().get_experiment_by_name("evaluate")
    assert experiment is not None
    runs = MlflowClient().search_runs([experiment.experiment_id])
    assert sorted(run.info.status for run in runs) == ["FAILED", "FINISHED"]
    [run] = [run for run in runs if run.info.status == "FINISHED"]
    assert run.data.metrics == {"em_on_squad_6_articles": 0.5, "perplexity": 12.25}


def test_what_cannot_be_measured_or_written_is_said_before(store: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="for all tasks; valid: auto"):
        evaluate.main(["--folder", str(tmp_path)])
    with pytest.raises(UserError, match="nothing does not exist"):
        evaluate.main(["--task", "summarization", "--folder", str(tmp_path / "nothing")])
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UserError, match="holds something else than a model"):
        starter.main(["--output", str(tmp_path)])
    assert (tmp_path / "mine.txt").read_text() == "precious"


def test_an_output_is_replaced_only_by_a_whole_copy(tmp_path: Path) -> None:
    new, target = tmp_path / "new", tmp_path / "target"
    for folder, text in ((new, "new"), (target, "old")):
        folder.mkdir()
        (folder / "config.json").write_text(text)
    (target / "left-over.txt").write_text("")
    training._replace(target, new)
    assert [path.name for path in target.iterdir()] == ["config.json"]
    assert (target / "config.json").read_text() == "new" and sorted(p.name for p in tmp_path.iterdir()) == [
        "new",
        "target",
    ]
