"""What the chatbot learns from: conversations divided without leaks, their form, what is learned of them."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from transformers import LlamaModel

from experiments.config import UserError
from experiments.starters.dialogue import conversations as talks
from experiments.starters.dialogue.conversations import (
    CHATTERBOT,
    divide,
    read_chatterbot,
    read_conversations,
    read_simple_dialogs,
    tidy,
)
from experiments.starters.dialogue.setup import both_ways
from experiments.starters.dialogue.template import ASSISTANT, USER, DialogueBatches, encode_talks, extended, pack
from experiments.starters.language import setup
from experiments.starters.language.network import LanguageNetwork, make_config
from experiments.starters.language.stories import letters, read_stories
from experiments.starters.language.tokens import IGNORED, train_tokenizer
from experiments.starters.weights import save_small
from tests.experiments.starters.test_language import TINY, WORDS, write_stories


def made_up_talk(rng: random.Random, turns: int = 6) -> list[str]:
    """A conversation whose replies have to do with what was said."""
    thing = rng.choice(["music", "movies", "football"])
    return [f"do you like {thing} {rng.randint(1, 9_999)}", *(f"yes, I like {thing}" for _ in range(turns - 1))]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Made-up files of everything that the recipe reads."""
    folder = tmp_path / "data"
    write_stories(folder, 20)
    rng = random.Random(0)
    text = folder / "text"
    for name in ("self_dialogue", "chatterbot-corpus/english", "simple-dialogs"):
        (text / name).mkdir(parents=True)
    lines = (json.dumps({"topic": "any", "turns": made_up_talk(rng)}) for _ in range(120))
    (text / "self_dialogue" / "self_dialogue.jsonl").write_text("\n".join(lines), encoding="utf-8")
    for name in CHATTERBOT:
        found = [[f"What is {name}?", f"{name} is good", f"No, {name} is bad"], ["Hello", f"hi from {name}"]]
        (text / "chatterbot-corpus/english" / f"{name}.yml").write_text(yaml.safe_dump({"conversations": found}))
    (text / "simple-dialogs" / "dialogs.txt").write_text("hi there:hello.\nno reply\na:b:c\nhow are you?:i'm fine.\n")
    return folder


@pytest.fixture
def language_model(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an untrained tiny language model."""
    monkeypatch.setattr(setup, "SIZES", TINY)
    tokenizer = train_tokenizer(read_stories(data_dir).train, WORDS, setup.CONTEXT)
    torch.manual_seed(0)
    folder = data_dir.parent / "language-model"
    save_small(LanguageNetwork(LlamaModel(make_config(tokenizer, **TINY))).whole(), tokenizer, folder)
    return folder


# Conversations ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("turn", "expected"),
    [
        ("i think i'm old", "I think I'm old."),
        ("Why?", "Why?"),
        ('he said "no"', 'He said "no"'),
        ("hi iris", "Hi iris."),
    ],
)
def test_replies_are_tidied(turn: str, expected: str) -> None:
    assert tidy(turn) == expected


def test_conversations_that_begin_alike_stand_on_one_side() -> None:
    long = [(f"Question {n}?", f"answer {m}") for n in range(300) for m in range(2)]
    short = [(f"question {n}!", "another answer") for n in range(300)]
    found = divide(long, short, told=[("Tell me a story.", "Once.")])
    sides = [{letters(turns[0]) for turns in part} for part in ((*found.train, *found.often), found.val, found.test)]
    assert not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
    assert sum(map(len, (found.train, found.often, found.val, found.test))) == 900
    assert 5 <= len(sides[2]) <= 30 and 1 <= len(sides[1]) <= 15  # 5 % and 2 % of 300


def test_rude_repeated_and_unanswered_conversations_are_dropped() -> None:
    polite = ("Hi", "I like Scunthorpe and grapes, and passed the class")
    rude = ("Hi", "what the fuck")
    found = divide([polite, rude, ("hi.", "I like scunthorpe and grapes; and passed the class!"), ("Hi",)], [], [])
    assert (*found.train, *found.val, *found.test) == (polite,)


def test_different_replies_to_one_line_become_pairs(data_dir: Path) -> None:
    pairs = read_chatterbot(data_dir, "emotion")
    assert pairs[:2] == [("What is emotion?", "emotion is good"), ("What is emotion?", "No, emotion is bad")]
    assert read_chatterbot(data_dir, "food")[0] == ("What is food?", "food is good", "No, food is bad")


def test_the_simple_dialogs_are_pairs_and_never_trained_on(data_dir: Path) -> None:
    assert read_simple_dialogs(data_dir) == [("hi there", "hello."), ("how are you?", "i'm fine.")]
    data = read_conversations(data_dir)
    assert not any("hi there" in turns for part in (data.train, data.often, data.told) for turns in part)


@pytest.mark.parametrize("file", ["self_dialogue/self_dialogue.jsonl", "chatterbot-corpus/english/food.yml"])
def test_damaged_and_missing_files_are_named_in_one_line(data_dir: Path, file: str) -> None:
    path = data_dir / "text" / file
    path.write_text("[1, 2\n")
    with pytest.raises(UserError, match="does not hold conversations") as caught:
        read_conversations(data_dir)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(UserError) as caught:
        read_conversations(data_dir)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_stories_to_be_told_are_of_the_training_part(data_dir: Path) -> None:
    told = read_conversations(data_dir).told
    assert told and {story for _, story in told} <= set(read_stories(data_dir).train)
    assert {request for request, _ in told} <= set(talks.STORY_REQUESTS)


# Form ---------------------------------------------------------------------------------------------------------------


def test_training_has_the_form_of_the_chat_template(language_model: Path) -> None:
    _, tokenizer = extended(language_model)
    turns = ("hello you", "Fine.", "ok?", "Yes.")
    (talk,) = encode_talks(tokenizer, [turns], 0, both=False)
    roles = ("user", "assistant", "user", "assistant")
    messages = [{"role": role, "content": turn} for role, turn in zip(roles, turns, strict=True)]
    templated = tokenizer.apply_chat_template(messages)["input_ids"]
    assert templated == [tokenizer.bos_token_id, *talk.tokens.tolist()]
    learned = tokenizer.decode(talk.tokens[talk.learned].tolist())
    assert learned == "Fine.<|endoftext|>Yes.<|endoftext|>"
    asked = tokenizer.apply_chat_template(messages[:3], add_generation_prompt=True)["input_ids"]
    assert templated[: len(asked)] == asked and asked[-1] == tokenizer.convert_tokens_to_ids(ASSISTANT)


def test_every_turn_but_the_first_is_a_reply_once(language_model: Path) -> None:
    _, tokenizer = extended(language_model)
    turns = ("One?", "Two.", "Three.", "Four.", "Five.")
    (ways,) = both_ways(tokenizer, [turns], learn_both=False)
    replies = [tokenizer.decode(talk.tokens[talk.learned].tolist()) for talk in ways]
    assert replies == ["Two.<|endoftext|>Four.<|endoftext|>", "Three.<|endoftext|>Five.<|endoftext|>"]
    (ways,) = both_ways(tokenizer, [turns], learn_both=True)
    assert tokenizer.decode(ways[0].tokens[ways[0].learned].tolist()).split("<|endoftext|>")[:-1] == list(turns[1:])
    assert len(both_ways(tokenizer, [("Only", "two.")], learn_both=True)[0]) == 1


def test_the_new_tokens_begin_as_the_one_that_ends_a_text(language_model: Path) -> None:
    model, tokenizer = extended(language_model)
    weights = model.model.embed_tokens.weight
    new = tokenizer.convert_tokens_to_ids([USER, ASSISTANT])
    assert new == [WORDS, WORDS + 1] and len(weights) == WORDS + 2
    assert torch.equal(weights[new], weights[[tokenizer.eos_token_id] * 2])
    again, _ = extended(language_model)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_rows_hold_whole_conversations_with_what_is_learned(language_model: Path) -> None:
    _, tokenizer = extended(language_model)
    end = tokenizer.eos_token_id
    found = encode_talks(tokenizer, [("a", "b."), ("c", "d.", "e", "f.")], 0, both=False)
    inputs, targets = pack(found, end, 512)
    stream = np.concatenate([part for talk in found for part in ([end], talk.tokens)])
    assert inputs.tolist() == [stream[:-1].tolist()]
    learned = np.concatenate([part for talk in found for part in ([False], talk.learned)])[1:]
    assert targets[0].tolist() == np.where(learned, stream[1:], IGNORED).tolist()


def test_epochs_take_turns_in_who_begins(language_model: Path) -> None:
    _, tokenizer = extended(language_model)
    turns = [(f"one {n}", f"two {n}", f"three {n}") for n in range(8)]
    ways = [(pair[0], pair[-1]) for pair in both_ways(tokenizer, turns, learn_both=True)]
    batches = DialogueBatches(ways, end=tokenizer.eos_token_id, context=16, batch_size=2, seed=0,
                              device=torch.device("cpu"))  # fmt: skip
    both = [torch.cat([batch.inputs for batch in batches.epoch(number)]) for number in (1, 2)]
    assert len(both[0]) == len(both[1]) == batches.rows and not torch.equal(both[0], both[1])
    for batch in batches.epoch(1):
        assert batch.tokens == int((batch.targets != IGNORED).sum()) < batch.targets.numel()


def test_another_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="language_model: ") as caught:
        extended(tmp_path)
    assert "\n" not in str(caught.value)
