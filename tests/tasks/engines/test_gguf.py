"""The header of GGUF files: what the model is; what is no GGUF, or not all of one, is said in a line."""

import struct
from pathlib import Path

import pytest

from tasks.base import ModelFolderError
from tasks.engines.gguf import parts, read_gguf
from tests.support.tiny_gguf import save_both, write_header


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_both(tmp_path_factory.mktemp("header"))[1]


def test_what_a_header_says(file: Path) -> None:
    model = read_gguf(file)
    assert (model.architecture, model.context_length, model.license) == ("qwen2", 160, "apache-2.0")
    assert model.file_bytes == file.stat().st_size
    assert model.chat_template and "<|im_start|>" in model.chat_template
    assert sorted(model.control_tokens().values()) == ["<|endoftext|>", "<|im_end|>", "<|im_start|>"]
    # Two layers, two heads of keys and of values, eight numbers each, two bytes a number.
    assert model.cache_bytes(100) == 100 * 2 * 2 * (8 + 8) * 2
    vocabulary, width = len(model.tokens), 32
    layer = 2 * width * width + width + 2 * (width * 16 + 16) + 3 * width * 64 + 2 * width
    assert model.parameters == vocabulary * width + 2 * layer + width


@pytest.mark.parametrize("kept", [5, 30, 1000, -1])
def test_a_file_that_was_cut_off_is_refused(file: Path, kept: int, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ModelFolderError, match=r"cut\.gguf is (damaged or )?not all of a GGUF file") as error:
        read_gguf(cut)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is not a GGUF file"),
        (b"PK\x03\x04 something else", "is not a GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 9, 0, 0), "is GGUF of version 9; valid: 2, 3"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 0), "does not say which architecture"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "is damaged or not all"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**63), "is damaged or not all"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"a", 99), "is damaged or not all"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"a", 9) + struct.pack("<IQ", 9, 1) * 100_000, "is damaged"),
    ],
)
def test_what_is_no_gguf_is_refused(content: bytes, expected: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    with pytest.raises(ModelFolderError, match=rf"model\.gguf {expected}"):
        read_gguf(path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("qwen2.context_length", "long"),
        ("qwen2.context_length", float("nan")),
        ("qwen2.context_length", 1),
        ("qwen2.block_count", 0),  # llama.cpp ends the process
        ("qwen2.block_count", "x"),
        ("qwen2.attention.head_count", 0),
        ("qwen2.attention.head_count", "x"),
        ("qwen2.embedding_length", "x"),
        ("general.alignment", 0),
    ],
)
def test_values_that_no_model_can_have_are_refused(name: str, value: float | str, tmp_path: Path) -> None:
    path = tmp_path / "odd.gguf"
    facts = {"qwen2.block_count": 2, "qwen2.attention.head_count": 4, "qwen2.embedding_length": 32, name: value}
    write_header(path, "qwen2", facts)
    with pytest.raises(ModelFolderError, match=r"odd\.gguf (is damaged|says that its model reads)") as error:
        read_gguf(path)
    assert "\n" not in str(error.value)


def test_kinds_of_more_tokens_than_there_are_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "few.gguf"
    write_header(path, "llama", {"tokenizer.ggml.tokens": ["a", "b"], "tokenizer.ggml.token_type": [1, 3, 3]})
    assert read_gguf(path).control_tokens() == {1: "b"}


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFolderError, match="cannot be read: No such file"):
        read_gguf(tmp_path / "missing.gguf")


def test_a_divided_file_is_all_its_parts(file: Path, tmp_path: Path) -> None:
    _, first = save_both(tmp_path, divided=True)
    files = sorted(first.parent.iterdir())
    model = read_gguf(first)
    assert len(files) > 2 and parts(first) == files
    assert model.file_bytes == sum(path.stat().st_size for path in files)
    assert model.parameters == read_gguf(file).parameters
    with pytest.raises(ModelFolderError, match=r"is part 2 of a divided model; valid: its first part"):
        read_gguf(files[1])
    files[1].write_bytes(files[1].read_bytes()[:-1])
    with pytest.raises(ModelFolderError, match=rf"{files[1].name} is not all of a GGUF file"):
        read_gguf(first)
    files[1].unlink()
    with pytest.raises(ModelFolderError, match=rf"of which {files[1].name} is not beside it") as error:
        read_gguf(first)
    assert "\n" not in str(error.value)
