"""What the language model is judged by: loops, distinct-n, samples and figures, on a tiny model and made-up stories."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaModel

from experiments.starters.language import judge as judging
from experiments.starters.language import setup
from experiments.starters.language.network import LanguageNetwork, make_config
from experiments.starters.language.repetition import distinct, loops
from experiments.starters.language.stories import opening, read_stories
from experiments.starters.language.tokens import train_tokenizer
from experiments.starters.weights import save_small
from tasks.text_generation import StoryCompletion
from tests.experiments.starters.test_language import TINY, WORDS, write_stories

FILLERS = [" ".join(f"w{number}" for number in range(start, start + 19)) for start in (0, 100, 200)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", False),
        ("He ran up the hill. He ran up the hill. He ran up the hill.", True),
        ("He ran up the hill. He ran up the hill.", False),  # twice only
        ("He ran up! he RAN up, a he ran up a he ran up a", True),  # marks and capitals do not matter
        ("and on and on and on and on", True),  # occurrences overlap: "and on and on" begins 3 times
        ("and on and on and on", False),
        (f"the dog ran off {FILLERS[0]} the dog ran off {FILLERS[1]} the dog ran off", True),  # 50 words
        (f"the dog ran off {FILLERS[0]} so the dog ran off {FILLERS[1]} the dog ran off", False),  # 51 words
        (f"the dog ran off {FILLERS[0]} so the dog ran off the dog ran off {FILLERS[1]} the dog ran off", True),
    ],
)
def test_a_loop_is_four_words_three_times_within_fifty(text: str, expected: bool) -> None:
    assert loops(text) is expected


def test_distinct_is_the_share_of_different_ngrams_over_all_texts() -> None:
    texts = ["the cat saw the cat", "The cat!", ""]
    assert distinct(texts, 1) == pytest.approx(3 / 7)  # the, cat, saw of 7 words
    assert distinct(texts, 2) == pytest.approx(3 / 5)  # the cat, cat saw, saw the of 4 + 1
    assert distinct(["word"], 2) == 0


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """A folder with made-up stories and a folder with an untrained model over them."""
    write_stories(tmp_path / "data", 30)
    monkeypatch.setattr(setup, "WORDS", WORDS)
    for name, value in {"SAMPLES": 4, "STORY_TOKENS": 12, "GUESSES": 5}.items():
        monkeypatch.setattr(judging, name, value)
    tokenizer = train_tokenizer(read_stories(tmp_path / "data").train, WORDS, setup.CONTEXT)
    torch.manual_seed(0)
    model = LanguageNetwork(LlamaModel(make_config(tokenizer, **TINY))).whole()
    save_small(model, tokenizer, tmp_path / "model")
    return tmp_path / "model", tmp_path / "data"


def test_the_figures_of_an_untrained_model(made: tuple[Path, Path]) -> None:
    judgment = judging.judge(*made)
    figures = {figure.name.split(" (")[0]: figure for figure in judgment.figures}
    perplexity = next(value for name, value in figures.items() if name.startswith("perplexity a token"))
    assert WORDS / 2 < perplexity.value < WORDS * 2  # as good as guessing
    assert figures["bits a byte on the same stories"].value > 0
    shares = [value.value for name, value in figures.items() if name.startswith(("share of", "distinct"))]
    assert len(shares) == 4 and all(0 <= value <= 1 for value in shares)
    assert judgment.examples.count("**") == 2 * judging.SHOWN


def test_samples_begin_as_held_out_stories_and_are_the_same_each_time(made: tuple[Path, Path]) -> None:
    folder, data_dir = made
    stories = read_stories(data_dir)
    task = StoryCompletion(folder, "tiny", device="cpu")
    task.load()
    samples = judging.sample(task, stories, 4)
    assert samples == judging.sample(task, stories, 4)
    held_out = {opening(story): story for story in stories.test}
    for first, completion, true in samples:
        assert first + true == held_out[opening(f"{first} ")] and completion
    assert len({first for first, _, _ in samples}) == 4


def test_a_word_to_be_guessed_follows_what_is_shown() -> None:
    before, word = judging._middle("One two three. Four five six")
    assert (before, word) == ("One two three.", "four")


def test_loading_and_answering_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(StoryCompletion):
        def load(self) -> None:
            now[0] += 2.0

        def run(self, rows: Any, parameters: Any = None) -> list[dict[str, Any]]:  # noqa: ARG002
            now[0] += 0.5
            return []

    now = [10.0]
    monkeypatch.setattr(judging.time, "perf_counter", lambda: now[0])
    assert judging.cold_seconds(Slow, Path("nowhere"), {"text": "Once"}) == 2.5
