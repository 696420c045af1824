"""What all starters share: splits by title, small weights, model cards, the evaluation of several."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import transformers
from mlflow import MlflowClient
from safetensors.torch import load_file, save_file

from experiments import evaluate, starter
from experiments.config import ConfigError, TrainingError, UserError
from experiments.data.splits import text_digest
from experiments.registration.folder import front_matter
from experiments.starters import card, corpora, evaluation, training, weights
from experiments.starters import starter as starter_module
from experiments.starters.starter import Figure, Starter, StarterEvaluation
from tests.support import tiny_models


def test_titles_are_held_out_in_the_share_asked_for_and_the_same_ones_everywhere() -> None:
    titles = [f"story {number}" for number in range(4000)]
    kept = [title for title in titles if corpora.held_out(title, 0.1)]
    assert 320 < len(kept) < 480
    assert set(kept) <= {title for title in titles if corpora.held_out(title, 0.3)}
    # Drawn once by hand: another machine or Python must not draw others.
    assert [number for number in range(30) if corpora.held_out(f"story {number}", 0.1)] == [0, 9, 11, 28]
    assert kept != [title for title in titles if corpora.held_out(title, 0.1, salt="other")]


def test_a_digest_knows_order_and_cuts() -> None:
    digests = {text_digest(texts) for texts in (["ab", "c"], ["a", "bc"], ["c", "ab"], ["abc"], ["abc", ""])}
    assert len(digests) == 5


def test_missing_data_are_named_with_where_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"text/squad does not exist.*docs/starters.md"):
        corpora.text_file(tmp_path, "squad")


def test_small_weights_load_as_float32_in_any_tool(tmp_path: Path) -> None:
    source = tiny_models.save("roberta-sentiment", tmp_path / "source")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(source)
    weights.save_small(model, transformers.AutoTokenizer.from_pretrained(source), tmp_path / "small")
    stored = load_file(tmp_path / "small" / "model.safetensors")
    assert all(value.element_size() == (1 if value.ndim > 1 else 2) for value in stored.values())
    loaded = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "small")
    for (name, before), (_, after) in zip(model.named_parameters(), loaded.named_parameters(), strict=True):
        assert after.dtype == torch.float32
        assert torch.allclose(before, after, rtol=0.07, atol=2e-3), name


def test_weights_are_halved_and_those_that_a_format_cannot_hold_are_refused(tmp_path: Path) -> None:
    path, values = tmp_path / "w.safetensors", {"large": torch.full((2, 2), 1000.0), "count": torch.tensor([3])}
    save_file(values, path)
    with pytest.raises(ConfigError, match=r"large has values up to 1000; torch\.float8_e4m3fn holds up to 448"):
        weights.shrink(path, torch.float8_e4m3fn)
    weights.shrink(path)
    assert {name: value.dtype for name, value in load_file(path).items()} == {
        "large": torch.float16,
        "count": torch.int64,
    }
    save_file({"bad": torch.full((2, 2), float("nan"))}, path)
    with pytest.raises(ConfigError, match="bad has values up to nan"):
        weights.shrink(path)


CARD = "---\nlicense: mit\n---\n# A starter\n\nSmall.\n\n## Training\n\nold\n\n## Measured on held-out data\n\nold\n"


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Starter]:
    """Two starters whose cards are written by hand."""
    monkeypatch.setattr(starter_module, "FOLDER", tmp_path)
    made = {}
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").write_text(CARD)
        made[name] = Starter(name, name, None, None)  # type: ignore[arg-type]
    return made


def test_figures_are_written_into_the_card_and_again(shipped: dict[str, Starter], tmp_path: Path) -> None:
    folder = tmp_path / "made"
    folder.mkdir()
    path = folder / card.CARD
    card.write(folder, shipped["good"], {"time": "3 minutes | 1 thread"})
    text = path.read_text()
    assert text.startswith("---\nlicense: mit\n---\n# A starter\n\nSmall.\n") and "old" not in text
    assert card.NOT_YET in text and "3 minutes \\| 1 thread" in text and front_matter(folder) == {"license": "mit"}
    for value in (0.5, 0.25):
        found = StarterEvaluation((Figure("loss", value, "before 1.0"),), "> Hello \\1")
        card.write_figures(folder, "good", found, "a laptop")
    text = path.read_text()
    assert "3 minutes \\| 1 thread" in text and "a laptop" in text and card.NOT_YET not in text
    assert "| loss | 0.250 | before 1.0 |" in text and "0.500" not in text and text.count("> Hello \\1") == 1
    path.write_text("mine")
    with pytest.raises(UserError, match="no model card of a starter"):
        card.write_figures(folder, "good", StarterEvaluation(()), "")
    assert path.read_text() == "mine" and front_matter(folder) == {}


def test_every_starter_is_measured_and_one_that_fails_holds_up_no_other(
    store: Path,
    tmp_path: Path,
    shipped: dict[str, Starter],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def measured(folder: Path, data_dir: Path) -> StarterEvaluation:
        if folder.name == "bad":
            raise UserError(f"{data_dir} does not exist")
        figures = (Figure("EM on SQuAD (6 articles)", 0.5), Figure("perplexity", 12.25, "5-gram 20", 2))
        return StarterEvaluation(figures, "> Hi")

    monkeypatch.setattr(evaluation, "STARTERS", shipped)
    monkeypatch.setattr(evaluation, "starter_of", lambda task: replace(shipped[task], evaluate=measured))
    with pytest.raises(TrainingError, match="not measured: bad"):
        evaluate.main(["--write", "true", "--data_dir", "no-data"])
    told = capsys.readouterr().out
    assert "bad was not measured: no-data does not exist" in told and "12.25  5-gram 20" in told and "> Hi" in told
    cards = {name: (tmp_path / name / card.CARD).read_text() for name in shipped}
    assert "| perplexity | 12.25 |" in cards["good"] and cards["bad"] == CARD
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
