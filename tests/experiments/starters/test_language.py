"""What the language model learns from and is: stories divided without leaks, tokens, packed batches, the network."""

import math
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from transformers import AutoTokenizer, LlamaForCausalLM, LlamaModel

from experiments.config import UserError
from experiments.starters.language.network import LanguageNetwork, language_step, make_config, measure
from experiments.starters.language.scoring import log_probabilities
from experiments.starters.language.stories import BORDER, SOURCES, cleaned, divide, opening, read_stories
from experiments.starters.language.tokens import (
    IGNORED,
    PackedBatches,
    Rows,
    cut,
    joined,
    tokenizer_digest,
    train_tokenizer,
)

CONTEXT = 32
WORDS = 300
TINY: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2,
    "intermediate_size": 48, "max_position_embeddings": 512, "initializer_range": 0.05,
}  # fmt: skip


def made_up_story(rng: random.Random) -> str:
    """A story that is not like another, but made of few words."""
    name, animal = rng.choice(["Lily", "Tom", "Mia", "Ben", "Sue", "Max"]), rng.choice(["dog", "cat", "bird", "frog"])
    deeds = [f"{name} {rng.choice(['saw', 'found', 'fed', 'lost'])} the {rng.choice(['red', 'big', 'old'])} {animal}."
             for _ in range(rng.randint(4, 12))]  # fmt: skip
    return " ".join([f"One day {name} had {rng.randint(2, 9_999)} {animal}s.", *deeds, "They were happy."])


def write_stories(data_dir: Path, count: int = 40) -> None:
    """Files of made-up stories as `read_stories` expects them, so many in each."""
    rng = random.Random(0)
    for source in SOURCES:
        folder = data_dir / "text" / source.folder
        folder.mkdir(parents=True)
        text = f"\n{BORDER}\n".join(made_up_story(rng) for _ in range(count))
        (folder / source.file).write_text(text, encoding="utf-8")


# Stories ------------------------------------------------------------------------------------------------------------


def test_damaged_characters_are_mended() -> None:
    assert cleaned(" He said, â€œDonâ€™t worry, Amy.â€ \n\n “Yes” \t now  ") == (
        'He said, "Don\'t worry, Amy."\n\n"Yes" now'
    )


def test_stories_with_one_opening_stand_on_one_side() -> None:
    rng = random.Random(1)
    openings = [f"Once there was a {n}." for n in range(300)]
    found = divide(f"{first} {made_up_story(rng)}{' More.' * n}" for first in openings for n in range(3))
    sides = [{opening(story) for story in part} for part in (found.train, found.val, found.test)]
    assert all(
        len(part) == 3 * len(side) for part, side in zip((found.train, found.val, found.test), sides, strict=True)
    )
    assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
    assert 5 <= len(sides[2]) <= 30 and 1 <= len(sides[1]) <= 15  # 5 % and 2 % of 300


def test_repeated_short_and_unfinished_stories_are_dropped() -> None:
    story = made_up_story(random.Random(2))
    found = divide([story, story.upper(), story[:-1], "Too short.", f"{story} And"])
    assert (*found.train, *found.val, *found.test) == (story,)


@pytest.mark.parametrize(
    ("story", "expected"),
    [("The Frog\n\nA frog sat.", "the frog"), ('"Hi!" said Tom. He left.', "hi"), ("No end", "no end")],
)
def test_an_opening_is_the_first_sentence_or_the_title(story: str, expected: str) -> None:
    assert opening(story) == expected


def test_a_missing_collection_is_named_in_one_line(tmp_path: Path) -> None:
    write_stories(tmp_path)
    missing = tmp_path / "text" / SOURCES[3].folder / SOURCES[3].file
    missing.unlink()
    with pytest.raises(UserError) as caught:
        read_stories(tmp_path)
    assert str(missing) in str(caught.value) and "\n" not in str(caught.value)


# Tokens -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    rng = random.Random(3)
    return train_tokenizer([made_up_story(rng) for _ in range(100)], WORDS, 512)


def test_a_tokenizer_is_the_same_each_time_and_loses_nothing(tokenizer: Any, tmp_path: Path) -> None:
    rng = random.Random(3)
    again = train_tokenizer([made_up_story(rng) for _ in range(100)], WORDS, 512)
    assert tokenizer_digest(again) == tokenizer_digest(tokenizer) and len(tokenizer) == WORDS
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = 'Ωhm 火 "quoted"\n\n  12 cats 🙂'
    ids = loaded(text)["input_ids"]
    assert ids[0] == loaded.bos_token_id == loaded.eos_token_id
    assert loaded.decode(ids, skip_special_tokens=True) == text
    assert len(loaded.tokenize("They were happy.")) < len("They were happy.")


def batches_of(texts: list[np.ndarray], **options: Any) -> PackedBatches:
    common = {"end": 0, "context": 8, "batch_size": 3, "seed": 0, "device": torch.device("cpu")}
    return PackedBatches(texts, **{**common, **options})


def test_batches_hold_all_stories_in_another_order_each_epoch() -> None:
    texts = [np.arange(1 + 10 * n, 8 + 10 * n, dtype=np.int16) for n in range(20)]  # with ends, 8 tokens each
    batches = batches_of(texts)
    first, again, second = (list(batches.epoch(number)) for number in (1, 1, 2))
    assert len(first) == len(batches) == 7
    assert all(torch.equal(a.inputs, b.inputs) for a, b in zip(first, again, strict=True))
    assert any(not torch.equal(a.inputs, b.inputs) for a, b in zip(first, second, strict=True))
    for batch in first:
        assert torch.equal(batch.inputs[:, 1:], batch.targets[:, :-1])
        assert batch.tokens == batch.targets.numel() and batch.examples == len(batch.inputs)
    for epoch in (first, second):
        assert sorted(torch.cat([b.targets.flatten() for b in epoch]).tolist()) == sorted(
            [*np.concatenate(texts).tolist(), *[0] * 20]
        )


def test_processes_share_each_batch() -> None:
    texts = [np.arange(1, 40, dtype=np.int16)] * 10
    whole = list(batches_of(texts, batch_size=4).epoch(1))
    shares = [list(batches_of(texts, batch_size=4, rank=rank, world_size=2).epoch(1)) for rank in (0, 1)]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert torch.equal(torch.cat([part.inputs for part in parts]), batch.inputs)
        assert all(part.tokens == batch.tokens for part in parts)


# Network ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def network(tokenizer: Any) -> LanguageNetwork:
    torch.manual_seed(0)
    return LanguageNetwork(LlamaModel(make_config(tokenizer, **TINY)))


def test_the_saved_model_says_the_same_and_nothing_is_stored_twice(network: LanguageNetwork) -> None:
    rows = torch.randint(1, WORDS, (2, CONTEXT))
    whole = network.whole()
    torch.testing.assert_close(whole(input_ids=rows).logits, network.eval()(rows))
    state = network.state_dict()
    assert len({value.data_ptr() for value in state.values()}) == len(state)
    assert sum(value.numel() for value in state.values()) == whole.num_parameters()
    assert whole.lm_head.weight.data_ptr() == whole.model.embed_tokens.weight.data_ptr()


def test_what_is_ignored_does_not_count(network: LanguageNetwork, accelerator: Accelerator) -> None:
    rows = torch.randint(1, WORDS, (3, 9))
    inputs, targets = rows[:, :-1], rows[:, 1:].clone()
    targets[0, 3:] = targets[2] = IGNORED
    result = language_step(network.eval(), Rows(inputs, targets, 11, 3))
    scores = network(inputs).detach().log_softmax(dim=-1)
    kept = [(row, place) for row in range(3) for place in range(8) if targets[row, place] != IGNORED]
    assert len(kept) == 11
    by_hand = -sum(float(scores[row, place, targets[row, place]]) for row, place in kept)
    assert float(result.loss.detach()) == pytest.approx(by_hand, rel=1e-5)
    metrics = measure(network, inputs, targets, accelerator)
    assert metrics["loss"] == pytest.approx(by_hand / 11, rel=1e-5)
    assert metrics["perplexity"] == pytest.approx(math.exp(by_hand / 11), rel=1e-4)
    right = sum(int(scores[row, place].argmax() == targets[row, place]) for row, place in kept)
    assert metrics["accuracy"] == pytest.approx(right / 11)


def test_texts_are_judged_token_by_token_also_beyond_the_window(network: LanguageNetwork) -> None:
    model = network.whole()
    rng = np.random.default_rng(0)
    texts = [rng.integers(1, WORDS, size=size).astype(np.int16) for size in (5, 15, 16, 50, 1)]
    found = log_probabilities(model, texts, end=0, window=16)
    for text, scores in zip(texts, found, strict=True):
        tokens = [0, *text.tolist(), 0]
        assert len(scores) == len(text) + 1
        for place in (0, len(text) // 2, len(text)):
            # Windows of 16 begin every 8 tokens: the first that reaches the place judges it.
            start = 0 if place < 16 else next(start for start in range(0, 99, 8) if start + 16 > place)
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([tokens[start : place + 1]])).logits[0, -1]
            assert scores[place] == pytest.approx(float(F.log_softmax(logits, dim=0)[tokens[place + 1]]), abs=1e-4)


def test_rows_begin_with_the_last_token_of_the_row_before() -> None:
    rows = cut(joined([np.arange(1, 12, dtype=np.int16)], 0), 4)
    assert rows.tolist() == [[0, 1, 2, 3, 4], [4, 5, 6, 7, 8], [8, 9, 10, 11, 0]]
    assert cut(np.array([0, 1, 2], dtype=np.int16), 512).tolist() == [[0, 1, 2]]


def test_the_whole_model_can_be_loaded_by_its_class(network: LanguageNetwork, tmp_path: Path) -> None:
    network.whole().save_pretrained(tmp_path)
    loaded = LlamaForCausalLM.from_pretrained(tmp_path)
    assert loaded.config.tie_word_embeddings and loaded.generation_config.eos_token_id == 0
