"""`compare -P kind=task`: tiny registered models evaluated on samples and on a user's own rows."""

import base64
import json
import statistics
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient

from experiments import config
from experiments.config import TrainingError
from experiments.evaluation.labeled_csv import read_rows
from experiments.evaluation.right_answers import right_answers
from experiments.evaluation.tasks import TASK_METRICS, evaluate, examine, sample_rows
from tasks import registry
from tests.support.evaluating import children, evaluated, reports, runs, written
from tests.support.runs import table

SCRIPT = "<script>alert(1)</script>"


@pytest.mark.figures
def test_two_models_of_one_task_are_evaluated_as_evaluate_does(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = evaluated("--models", "sentiment-analysis/1,sentiment-analysis@champion,sentiment-analysis")
    printed = capsys.readouterr().out
    parent = MlflowClient().get_run(result.run_id)
    assert parent.info.status == "FINISHED" and parent.data.tags["models_failed"] == "0"
    assert parent.info.run_name == "compare 2 models for sentiment-analysis on sample"
    assert parent.data.params["models"] == "sentiment-analysis/1,sentiment-analysis/2"
    nested = children(result)
    rows = sample_rows("sentiment-analysis")
    assert set(nested) == {"sentiment-analysis/1", "sentiment-analysis/2"}
    for key, run in nested.items():
        expected = evaluate(registry.load(key, "cpu"), rows)
        assert run.info.experiment_id == parent.info.experiment_id and run.info.status == "FINISHED"
        assert {name: run.data.metrics[name] for name in expected} == expected
        assert run.data.tags["task"] == "sentiment-analysis" and run.data.tags["data_sha256"]
        assert run.data.metrics["latency_requests"] == 4
        assert 0 < run.data.metrics["latency_median_seconds"] <= run.data.metrics["latency_p95_seconds"]
        assert run.data.metrics["memory_bytes"] == registry.load(key, "cpu").memory_bytes()
        assert run.data.metrics["load_seconds"] > 0 and run.data.metrics["tokens_per_second"] > 0
    leaderboard = {line["version"]: line for line in table(reports(result) / "leaderboard.csv")}
    assert {key: float(line["accuracy"]) for key, line in leaderboard.items()} == {
        key: pytest.approx(run.data.metrics["accuracy"]) for key, run in nested.items()
    }
    assert all(float(line["accuracy_low"]) < float(line["accuracy_high"]) for line in leaderboard.values())
    assert "tokens/s" in printed and "= is not distinguishable" in printed and result.page_uri in printed
    assert json.loads((reports(result) / "analysis.json").read_text())["sample"] == list(result.analysis)
    figures = {path.name for path in (reports(result).parent / "plots").iterdir()}
    assert figures == {"quality.png", "quality_latency.png"}


def test_answers_are_side_by_side_and_the_page_escapes_what_people_wrote(shelf: Path) -> None:
    rows = ("text,label", f'"{SCRIPT}, a film",positive', '"=HYPERLINK(""http://x"")",negative', "@fine $a$ $b,neutral")
    result = evaluated(
        "--models", "sentiment-analysis/1,sentiment-analysis/2", "--datasets", written(shelf / "own.csv", *rows)
    )
    page = Path(result.page_uri).read_text()
    assert SCRIPT not in page and "&lt;script&gt;alert(1)&lt;/script&gt;, a film" in page
    assert "<img src=x" not in page and "&lt;img src=x onerror=alert(1)&gt; (sentiment-analysis/2)" in page
    assert "http" not in page.replace("http://x", "") and page.count("data:image/png;base64,") == 2
    answers = table(reports(result) / "answers.csv")
    assert [line["text"] for line in answers] == [f"{SCRIPT}, a film", '\'=HYPERLINK("http://x")', "'@fine $a$ $b"]
    for version in result.leaderboard.rows:
        said = [line[version.name] for line in answers]
        task = registry.load(version.measured.version.key, "cpu")
        assert said == [
            row["label"] for row in task.run([{"text": row["text"]} for row in result.leaderboard.plan.data.rows])
        ]
        scores = [float(line[f"{version.name}: accuracy"]) for line in answers]
        assert statistics.mean(scores) == pytest.approx(version.quality["accuracy"].mean)
    for name in ("leaderboard.csv", "answers.csv", "pairs.csv"):
        cells = [cell for line in table(reports(result) / name) for column in line.items() for cell in column]
        assert not [cell for cell in cells if cell[0:1] in ("=", "+", "@")]


def test_a_failing_model_does_not_stop_the_rest(shelf: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = registry.model_folder(registry.find("sentiment-analysis/2")) / "model.safetensors"
    whole = broken.read_bytes()
    try:
        broken.write_bytes(whole[: len(whole) // 2])
        result = evaluated("--models", "sentiment-analysis/2,other-labels,sentiment-analysis/1")
    finally:
        broken.write_bytes(whole)
    printed = capsys.readouterr().out
    assert [line.measured.version.key for line in result.leaderboard.rows] == ["sentiment-analysis/1"]
    assert len(result.failures) == 2 and "Traceback" not in printed
    assert "1/3  <img src=x onerror=alert(1)> (sentiment-analysis/2): FAILED: " in printed
    assert (
        "2/3  no such labels (other-labels/1): FAILED: the model's classes are label_0, label_1, the labels" in printed
    )
    nested = children(result)
    assert [nested[f"{name}"].info.status for name in ("sentiment-analysis/2", "other-labels/1")] == ["FAILED"] * 2
    assert "label_0" in nested["other-labels/1"].data.tags["error"]
    assert nested["sentiment-analysis/1"].info.status == "FINISHED"
    assert MlflowClient().get_run(result.run_id).data.tags["models_failed"] == "2"
    assert "could not be evaluated" in Path(result.page_uri).read_text()


def test_if_no_model_can_be_evaluated_the_run_fails(shelf: Path) -> None:
    with pytest.raises(TrainingError, match=r"no model could be evaluated \(1\); the first: the model's classes"):
        evaluated("--models", "other-labels")
    assert {run.info.status for run in runs()} == {"FAILED"}


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("story-completion", "max_new_tokens=3"),
        ("next-word-prediction", "none"),
        ("question-answering", "none"),
        ("summarization", "num_beams=1,max_length=4"),
    ],
)
def test_every_text_task_is_evaluated_on_its_sample(task: str, settings: str, shelf: Path) -> None:
    result = evaluated("--task", task, "--settings", settings)
    given = {} if settings == "none" else {part.split("=")[0]: int(part.split("=")[1]) for part in settings.split(",")}
    assert len(result.leaderboard.rows) == (2 if task == "story-completion" else 1) and not result.failures
    for line in result.leaderboard.rows:
        expected = evaluate(registry.load(line.measured.version.key, "cpu"), sample_rows(task), given)
        found = line.measured.evaluation
        assert found.metrics == expected and result.leaderboard.metrics[0] in found.scores
        for name, scores in found.scores.items():
            mean = np.average(scores.values, weights=scores.weights)
            assert found.metrics[name] == pytest.approx(np.exp(mean) if scores.exponential else mean)
        assert len(found.answers) == len(sample_rows(task)) and all(isinstance(text, str) for text in found.answers)
    assert result.leaderboard.metrics[0] == TASK_METRICS[task].headline
    answers = table(reports(result) / "answers.csv")
    assert [line[TASK_METRICS[task].columns[0]] for line in answers] == [
        row[TASK_METRICS[task].columns[0]] for row in sample_rows(task)
    ]


def test_a_user_s_own_pictures_are_evaluated(pictures: Callable[..., str], shelf: Path) -> None:
    pictures()
    encoded = base64.b64encode((shelf / "images/2.png").read_bytes()).decode()
    path = pictures("images/0.png,3", "./images/1.png,1", f"{encoded},7")
    result = evaluated("--models", "cnn-digits", "--datasets", path)
    task = registry.load("cnn-digits", "cpu")
    files = [(shelf / "images" / f"{number}.png").read_bytes() for number in range(3)]
    said = [row["label"] for row in task.run([{"image": file} for file in files])]
    answers = table(reports(result) / "answers.csv")
    name = result.leaderboard.rows[0].name
    assert [line[name] for line in answers] == said
    right = sum(one == other for one, other in zip(said, ["3", "1", "7"], strict=True))
    assert result.leaderboard.rows[0].quality["accuracy"].mean == pytest.approx(right / 3)


def test_sequences_are_evaluated(shelf: Path) -> None:
    path = written(shelf / "own.csv", "sequence", "1 2 3", "7", '"[4, 4]"')
    result = evaluated("--models", "seq2seq-reverse", "--datasets", path, "--settings", "beam_width=2")
    rows = registry.load("seq2seq-reverse", "cpu").run(
        [{"sequence": one} for one in ([1, 2, 3], [7], [4, 4])], {"beam_width": 2}
    )
    assert result.leaderboard.rows[0].quality["sequence_accuracy"].mean == pytest.approx(
        statistics.mean(row["correct"] for row in rows)
    )
    [child] = children(result).values()
    assert "tokens_per_second" not in child.data.metrics


def test_a_file_is_read_as_the_tool_reads_it_and_columns_are_chosen(shelf: Path) -> None:
    content = "sep=;\r\n;Review;note;label\r\n0;fine;x;POSITIVE\r\n\r\n1;bad;;negative\r\n"
    (shelf / "own.csv").write_bytes(content.encode("utf-8"))
    result = evaluated("--models", "sentiment-analysis/1", "--datasets", "own.csv", "--columns", "text=review")
    assert result.leaderboard.plan.data.rows == (
        {"text": "fine", "label": "POSITIVE"},
        {"text": "bad", "label": "negative"},
    )


class Said:
    """A task that has its answers ready."""

    def __init__(self, name: str, column: str, *answers: str) -> None:
        self.name, self.column, self.answers = name, column, answers

    def run(self, rows: list[dict[str, str]], _parameters: dict[str, int]) -> list[dict[str, str]]:
        assert all(set(row) <= {"question", "context", "text"} for row in rows), "the model sees what is right"
        return [{self.column: answer} for answer in self.answers]


def test_of_several_right_answers_the_best_counts(shelf: Path) -> None:
    path = written(
        shelf / "own.csv",
        "question,context,answer,Answer_2,answer_3,answer_by",
        'Who?,c,Ada,"Ada Lovelace, the countess",Ada Lovelace,x',
        'Who?,c,"[""Ada"", ""Ada Lovelace""]",,,x',
        "Who?,c,,,,x",
        "Who?,c,[],,,x",
        "Who?,c,,Ada,,x",
        "Who?,c,[1],,,x",
        "Who?,c,\"['Ada', 'Ada L']\",,,x",
        "Who?,c,\"{'text': ['Ada'], 'answer_start': [3]}\",,,x",
        'Who?,c,Bo,"[""Ada""]",,x',
        f"Who?,c,{'[' * 3000},,,x",
    )
    rows = read_rows("question-answering", path).rows
    said = ("the Ada Lovelace", "Lovelace", "", "Ada", "Ada", "1", "Ada L", "Ada", "Ada", "Ada")
    found = examine(Said("question-answering", "answer", *said), rows)  # pyright: ignore[reportArgumentType]
    assert found.scores["exact_match"].values == (1, 0, 1, 0, 1, 1, 1, 1, 1, 0)
    assert found.scores["f1"].values == (1, pytest.approx(2 / 3), 1, 0, 1, 1, 1, 1, 1, 0)
    assert found.metrics["exact_match"] == pytest.approx(7 / 10)
    path = written(shelf / "own.csv", "text,summary,summary_2", "t,a cat sat,the dog ran", "t,no,[yes]")
    summaries = Said("summarization", "summary", "the dog ran", "yes")
    found = examine(summaries, read_rows("summarization", path).rows)  # pyright: ignore[reportArgumentType]
    assert found.scores["rougeL"].values == (1, 1)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (str({"text": np.array(["Ada", "Ada L"], dtype=object), "start": np.array([4, 0])}), ["Ada", "Ada L"]),
        (str(np.array(["Ada", "Ada's own"], dtype=object)), ["Ada", "Ada's own"]),
        (str(np.array(["a long answer " * 3] * 3, dtype=object)), ["a long answer " * 3] * 3),
        (str(np.array([], dtype=object)), [""]),
        ("array(Ada)", ["array(Ada)"]),
        ("(the first", ["(the first"]),
        ("'Ada' 'Bo'", ["'Ada' 'Bo'"]),
    ],
)
def test_several_right_answers_may_be_an_array_as_pandas_writes_it(cell: str, expected: list[str]) -> None:
    assert right_answers({"answer": cell}, "answer") == expected


@pytest.mark.parametrize(
    ("cell", "right"),
    [
        (str(np.array(["New York", "it's", "L.A. (the city)"])), ["New York", "it's", "L.A. (the city)"]),
        (str({"text": np.array(["Ada"], dtype=object), "answer_start": np.array([3], dtype=np.int32)}), ["Ada"]),
        ("{'text': array([], dtype=object), 'answer_start': array([], dtype=int32)}", [""]),
        ('[{"text": "a", "answer_start": 1}, {"text": "b", "answer_start": 1}]', ["a", "b"]),
        ('{"text": "a", "answer_start": 3}', ["a"]),
        ('["a", null]', ["a"]),
        ('{"a": 1}', ['{"a": 1}']),
        ("[sic] a", ["[sic] a"]),
        ('"a"', ['"a"']),
        ("[" + ", dtype=" * 1000, ["[" + ", dtype=" * 1000]),
    ],
)
def test_lists_of_right_answers_come_as_programs_write_them(cell: str, right: list[str]) -> None:
    assert right_answers({"answer": cell}, "answer") == right


def test_names_of_judged_tasks_agree() -> None:
    assert set(config.EVALUATED_TASKS) == set(TASK_METRICS)
