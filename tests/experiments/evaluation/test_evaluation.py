"""`compare -P kind=task`: tiny registered models evaluated on samples and on a user's own rows."""

import base64
import csv
import json
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from PIL import Image

from experiments import compare, config
from experiments.config import ConfigError, TrainingError
from experiments.evaluation import measure
from experiments.evaluation.labeled_csv import read_rows
from experiments.evaluation.report import EvaluationResult
from experiments.evaluation.tasks import TASK_METRICS, evaluate, examine, sample_rows
from tasks import registry

TASK = ["--kind", "task", "--threads", "1"]
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture(scope="module")
def stocked(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a registry with tiny models of every task."""
    import mlflow

    from tests.support.evaluated_models import stock

    folder = tmp_path_factory.mktemp("registry")
    (folder / "mlflow.db").write_bytes(empty_store.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
        stock(folder)
        mlflow.set_tracking_uri(None)
    return folder / "mlflow.db"


@pytest.fixture
def shelf(stocked: Path, store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory of the test's own whose registry has the models; few single requests are timed."""
    (store / "mlflow.db").write_bytes(stocked.read_bytes())
    monkeypatch.setattr(measure, "REQUESTS", 4)
    yield store


def evaluated(*arguments: str) -> EvaluationResult:
    result = compare.main([*TASK, *arguments])
    assert isinstance(result, EvaluationResult)
    return result


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def reports(result: EvaluationResult) -> Path:
    return Path(result.page_uri).parent


def runs() -> list[Run]:
    client = MlflowClient()
    found = client.search_runs([one.experiment_id for one in client.search_experiments() if one.name == "compare"])
    return list(found)


def children(result: EvaluationResult) -> dict[str, Run]:
    """The nested runs by registered model and version."""
    nested = [run for run in runs() if run.data.tags.get("mlflow.parentRunId") == result.run_id]
    return {f"{run.data.tags['registered_model']}/{run.data.tags['version']}": run for run in nested}


def written(path: Path, *lines: str) -> str:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


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
    board = {line["version"]: line for line in table(reports(result) / "leaderboard.csv")}
    assert {key: float(line["accuracy"]) for key, line in board.items()} == {
        key: pytest.approx(run.data.metrics["accuracy"]) for key, run in nested.items()
    }
    assert all(float(line["accuracy_low"]) < float(line["accuracy_high"]) for line in board.values())
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
    for version in result.board.rows:
        said = [line[version.name] for line in answers]
        task = registry.load(version.measured.version.key, "cpu")
        assert said == [
            row["label"] for row in task.run([{"text": row["text"]} for row in result.board.plan.data.rows])
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
    assert [line.measured.version.key for line in result.board.rows] == ["sentiment-analysis/1"]
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
    assert len(result.board.rows) == (2 if task == "story-completion" else 1) and not result.failures
    for line in result.board.rows:
        expected = evaluate(registry.load(line.measured.version.key, "cpu"), sample_rows(task), given)
        found = line.measured.evaluation
        assert found.metrics == expected and result.board.metrics[0] in found.scores
        for name, scores in found.scores.items():
            mean = np.average(scores.values, weights=scores.weights)
            assert found.metrics[name] == pytest.approx(np.exp(mean) if scores.exponential else mean)
        assert len(found.answers) == len(sample_rows(task)) and all(isinstance(text, str) for text in found.answers)
    assert result.board.metrics[0] == TASK_METRICS[task].headline
    answers = table(reports(result) / "answers.csv")
    assert [line[TASK_METRICS[task].columns[0]] for line in answers] == [
        row[TASK_METRICS[task].columns[0]] for row in sample_rows(task)
    ]


@pytest.fixture
def pictures(shelf: Path) -> Callable[..., str]:
    """A function that writes a CSV file of digits beside their pictures."""

    def write(*lines: str) -> str:
        generator = np.random.default_rng(0)
        (shelf / "images").mkdir(exist_ok=True)
        for number in range(3):
            pixels = generator.integers(256, size=(32, 32), dtype=np.uint8)
            Image.fromarray(pixels).save(shelf / "images" / f"{number}.png")
        return written(shelf / "digits.csv", "image,label", *lines)

    return write


def test_a_user_s_own_pictures_are_evaluated(pictures: Callable[..., str], shelf: Path) -> None:
    pictures()
    encoded = base64.b64encode((shelf / "images/2.png").read_bytes()).decode()
    path = pictures("images/0.png,3", "./images/1.png,1", f"{encoded},7")
    result = evaluated("--models", "cnn-digits", "--datasets", path)
    task = registry.load("cnn-digits", "cpu")
    files = [(shelf / "images" / f"{number}.png").read_bytes() for number in range(3)]
    said = [row["label"] for row in task.run([{"image": file} for file in files])]
    answers = table(reports(result) / "answers.csv")
    name = result.board.rows[0].name
    assert [line[name] for line in answers] == said
    right = sum(one == other for one, other in zip(said, ["3", "1", "7"], strict=True))
    assert result.board.rows[0].quality["accuracy"].mean == pytest.approx(right / 3)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("../secret.png", "outside the folder of the CSV file"),
        ("images/link.png", "outside the folder of the CSV file"),
        ("/etc/hostname.png", "outside the folder of the CSV file"),
        ("images/9.png", "no such file"),
        ("images/.", "no such file"),
        ("images/text.png", "image is not a PNG or JPEG"),
        ("images/half.png", "image is (damaged|not a PNG)"),
        ("not base64!", "not valid base64"),
        ("", "image is empty"),
        ("x" * 5000 + ".png", "cannot be read"),
    ],
)
def test_pictures_that_cannot_be_used_are_refused(
    cell: str, expected: str, pictures: Callable[..., str], shelf: Path
) -> None:
    pictures()
    Image.new("L", (8, 8)).save(shelf.parent / "secret.png")
    (shelf / "images/link.png").symlink_to(shelf.parent / "secret.png")
    (shelf / "images/text.png").write_text("no picture")
    (shelf / "images/half.png").write_bytes((shelf / "images/0.png").read_bytes()[:60])
    path = pictures("images/0.png,3", f"{cell},3")
    with pytest.raises(ConfigError, match=rf"line 3 of digits.csv: .*{expected}") as error:
        evaluated("--models", "cnn-digits", "--datasets", path)
    assert "\n" not in str(error.value) and not runs()


def test_sequences_are_evaluated(shelf: Path) -> None:
    path = written(shelf / "own.csv", "sequence", "1 2 3", "7", '"[4, 4]"')
    result = evaluated("--models", "seq2seq-reverse", "--datasets", path, "--settings", "beam_width=2")
    rows = registry.load("seq2seq-reverse", "cpu").run(
        [{"sequence": one} for one in ([1, 2, 3], [7], [4, 4])], {"beam_width": 2}
    )
    assert result.board.rows[0].quality["sequence_accuracy"].mean == pytest.approx(
        statistics.mean(row["correct"] for row in rows)
    )
    [child] = children(result).values()
    assert "tokens_per_second" not in child.data.metrics


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--models", "nobody"], "models names 'nobody': there is no registered model nobody; registered: chatbot"),
        (["--models", "sentiment-analysis/99"], "there is no registered model sentiment-analysis/99"),
        (["--models", "../../etc"], "valid: name, name@alias or name/version"),
        (["--models", " , "], "names nothing"),
        (["--models", "summarization,story-completion"], "valid: models of one task"),
        (["--models", "chatbot"], "chatbot has no metric; valid: models for sentiment-analysis"),
        (["--models", "summarization", "--task", "story-completion"], "for summarization, and task is 'story-comp"),
        (["--task", "chatbot"], "task is 'chatbot'; valid: auto, sentiment-analysis"),
        ([], "task is 'auto' with models=auto, and the registry has models for sentiment-analysis, question"),
        (["--task", "image-classification"], "there is no sample for image-classification; valid: a CSV .*label"),
        (["--task", "summarization", "--seeds", "2"], "seeds is 2, which has no meaning for kind=task"),
        (["--task", "summarization", "--epochs", "3"], "epochs is 3, which has no meaning for kind=task"),
        (["--task", "summarization", "--register", "false"], "register is False, which has no meaning"),
        (["--task", "summarization", "--train_size", "9"], "train_size is 9, which has no meaning"),
        (["--task", "summarization", "--confirm", "true"], "confirm is True, which has no meaning"),
        (["--task", "summarization", "--resume", "abc"], "resume is 'abc', which has no meaning"),
        (
            ["--task", "summarization", "--columns", "txt=a"],
            "columns has 'txt=a'; valid: auto, or name=column with text",
        ),
        (["--task", "summarization", "--columns", "text="], "columns has 'text='; valid: auto"),
        (
            ["--task", "summarization", "--settings", "beams=2"],
            "settings has 'beams=2'; valid: none, or name=value with max_l",
        ),
        (
            ["--task", "summarization", "--settings", "num_beams"],
            "settings has 'num_beams'; valid: none, or name=value",
        ),
        (["--task", "summarization", "--settings", "num_beams=x"], "num_beams is 'x'; valid: a whole number from"),
        (["--task", "summarization", "--settings", "num_beams=99"], "num_beams is 99; valid"),
        (["--task", "sentiment-analysis", "--settings", "top_k=1"], "settings has .top_k=1.; valid: n"),
        (["--task", "summarization", "--device", "tpu"], "device is 'tpu'"),
        (["--task", "summarization", "--datasets", "missing.csv"], "datasets is 'missing.csv', and there is no such"),
        (["--task", "summarization", "--datasets", "."], "which is a folder; valid: auto, or a CSV file with"),
        (["--task", "summarization", "--datasets", ""], "there is no such file"),
        (["--task", "summarization", "--datasets", "~nosuchuser/x.csv"], "which cannot be read: .*; valid: auto, or"),
        (["--task", "summarization", "--datasets", "a\0b"], "datasets has a NUL at character 2"),
        (["--task", "summarization", "--datasets", "x" * 300], "which cannot be read"),
        (["--task", "summarization", "--datasets", "/dev/zero"], "which is no plain file"),
    ],
)
def test_what_cannot_be_is_refused_before_any_run(arguments: list[str], expected: str, shelf: Path) -> None:
    with pytest.raises(ConfigError, match=expected) as error:
        evaluated(*arguments)
    assert "\n" not in str(error.value) and not runs()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"text,label\n", r"datasets: own\.csv: the file has a header but no rows"),
        (b"text,other\nfine,positive\n", r"datasets: own\.csv: column 'label' is missing; the file has text, other"),
        (b"text,label\nfine, really,positive\n", r"datasets: own\.csv: line 2 has 3 cells, but the header has 2"),
        (b"text,label\nfine\n", "line 2 of own.csv: label is empty"),
        (b"text,label\nfine,positive\n   ,positive\n", "line 3 of own.csv: text is empty"),
        (b"text,label\nfine,\n", "line 2 of own.csv: label is empty"),
        (b"text,label\n" + b"a" * (2**20 + 1) + b",positive\n", "line 2 of own.csv: text has 1048577 characters"),
        (b"text,label\n" + b"fine,positive\n" * 10_001, r"datasets: own\.csv: the file has more than 10,000 rows"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_before_any_run(content: bytes, expected: str, shelf: Path) -> None:
    (shelf / "own.csv").write_bytes(content)
    with pytest.raises(ConfigError, match=expected) as error:
        evaluated("--models", "sentiment-analysis", "--datasets", "own.csv")
    assert "\n" not in str(error.value) and not runs()


def test_a_file_that_is_too_large_is_not_read(shelf: Path) -> None:
    with (shelf / "own.csv").open("wb") as file:
        file.truncate(101 * 10**6)
    with pytest.raises(ConfigError, match=r"own\.csv has 101 MB; valid: at most 100 MB"):
        evaluated("--models", "sentiment-analysis", "--datasets", "own.csv")


@pytest.mark.parametrize("sequence", ["1 two", "1.5", "-1", "1;2", "1 9999999999"])
def test_sequences_that_are_none_are_refused(sequence: str, shelf: Path) -> None:
    path = written(shelf / "own.csv", "sequence", f'"{sequence}"')
    with pytest.raises(ConfigError, match=r"line 2 of own\.csv: .* is no whole number from 0; valid: numbers"):
        evaluated("--models", "seq2seq-reverse", "--datasets", path)


def test_a_file_is_read_as_the_tool_reads_it_and_columns_are_chosen(shelf: Path) -> None:
    content = "sep=;\r\n;Review;note;label\r\n0;fine;x;POSITIVE\r\n\r\n1;bad;;negative\r\n"
    (shelf / "own.csv").write_bytes(content.encode("utf-8"))
    result = evaluated("--models", "sentiment-analysis/1", "--datasets", "own.csv", "--columns", "text=review")
    assert result.board.plan.data.rows == ({"text": "fine", "label": "POSITIVE"}, {"text": "bad", "label": "negative"})


@pytest.mark.parametrize("arguments", [["--task", "summarization"], ["--settings", "num_beams=1"]])
def test_what_is_for_tasks_only_is_refused_in_training(arguments: list[str]) -> None:
    with pytest.raises(ConfigError, match="which has no meaning for kind=cnn, where networks are trained; valid: "):
        compare.main(arguments)


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


def test_names_of_judged_tasks_agree() -> None:
    assert set(config.EVALUATED_TASKS) == set(TASK_METRICS)
