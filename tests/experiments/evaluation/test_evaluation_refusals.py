"""`compare -P kind=task`: what cannot be evaluated is refused in one line, before any run."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from experiments import compare
from experiments.config import ConfigError
from tests.support.evaluating import evaluated, runs, written


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


@pytest.mark.parametrize("arguments", [["--task", "summarization"], ["--settings", "num_beams=1"]])
def test_what_is_for_tasks_only_is_refused_in_training(arguments: list[str]) -> None:
    with pytest.raises(ConfigError, match="which has no meaning for kind=cnn, where networks are trained; valid: "):
        compare.main(arguments)
