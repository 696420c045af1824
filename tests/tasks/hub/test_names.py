"""What users and files of the Hub call models and quantizations, and how far a download is said to be."""

import pytest

from tasks.hub.fetch import DownloadProgress
from tasks.hub.names import parse
from tasks.hub.quantization import pick, quantization, variants


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (DownloadProgress(45_100_000, 93_200_000, 12e6), "downloaded 45.1 of 93.2 MB (48%), 12.0 MB/s, 4 s left"),
        (DownloadProgress(0, 5_155_000_000, 2e5), "downloaded 0.0 of 5,155.0 MB (0%), 0.2 MB/s, 7 h 9 min left"),
        (DownloadProgress(10, 93_200_000, 0.0), "downloaded 0.0 of 93.2 MB (0%)"),
        (DownloadProgress(93_200_000, 93_200_000, 1e6), "downloaded 93.2 of 93.2 MB (100%)"),
    ],
)
def test_progress_is_described(progress: DownloadProgress, line: str) -> None:
    assert progress.line() == line


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("qwen2.5-0.5b-instruct-q4_k_m.gguf", "Q4_K_M"),
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "Q4_1"),
        ("model-IQ4_XS-00001-of-00002.gguf", "IQ4_XS"),
        ("BF16/model.gguf", "BF16"),
        ("model-f16.gguf", "F16"),
        ("Q8-model.gguf", ""),
    ],
)
def test_quantizations_are_read_from_the_names_of_files(path: str, name: str) -> None:
    assert quantization(path) == name


@pytest.mark.parametrize(
    ("names", "parameters", "expected"),
    [
        (["Q2_K", "Q4_K_M", "Q8_0"], 7_000_000_000, "Q4_K_M"),
        (["Q2_K", "Q4_K_M", "Q8_0"], 500_000_000, "Q8_0"),
        (["Q2_K", "Q4_K_M", "Q8_0"], None, "Q4_K_M"),
        (["Q2_K", "Q6_K"], 3_000_000_000, "Q6_K"),
        (["IQ2_XS", "IQ3_M"], 3_000_000_000, "IQ2_XS"),  # nothing known: the smallest
        (["Q2_K", "Q4_K_M", "v2-Q4_K_M"], 7_000_000_000, "m-Q4_K_M.gguf"),  # two of them, named by their files
    ],
)
def test_the_default_quantization_follows_the_size(names: list[str], parameters: int | None, expected: str) -> None:
    offered = variants((f"m-{name}.gguf", 100 + place) for place, name in enumerate(names))
    assert pick(offered, "", parameters, "someone/model").name == expected


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("gpt2", ("gpt2", "")),
        ("a/b:Q4_K_M", ("a/b", "Q4_K_M")),
        ("a/b:sub/m-q8_0.gguf", ("a/b", "sub/m-q8_0.gguf")),
        ("a/b:", None),
        ("a/b:../x.gguf", None),
        ("a/b:/etc/x.gguf", None),
        ("http://a/b", None),
        ("a/b/c", None),
        ("a/b:Q4\nx", None),
    ],
)
def test_an_id_may_name_a_gguf_file(typed: str, expected: tuple[str, str] | None) -> None:
    assert parse(typed) == expected
