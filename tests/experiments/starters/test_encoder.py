"""What the starters over an encoder share: the vocabulary cut down, the encoder made smaller, batches of texts."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, BertModel

from experiments.config import ConfigError, UserError
from experiments.starters.encoders.encoder import Size, activations, make_start, prune
from experiments.starters.encoders.vocabulary import count_pieces, cut_tokenizer, learn_tokenizer, pieces_to_keep
from experiments.text.batches import EncodedText, TextBatches, collate
from tests.support.tiny_encoder import LETTERS, WORDS, save_encoder, tokenizer


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("encoder"))


def pieces(words: Any, text: str) -> list[str]:
    return words.convert_ids_to_tokens(words(text)["input_ids"])


def test_a_text_within_the_kept_vocabulary_is_spelt_as_before() -> None:
    whole = tokenizer()
    texts = ["The lighthouse was wonderful!", "Who lit the lamps? (the king's)"]
    counts = count_pieces(whole, texts)
    kept = pieces_to_keep(whole.get_vocab(), counts, 2 * len(LETTERS) + 5 + len(counts), least=1)
    small = cut_tokenizer(whole, kept)
    assert len(small) < len(whole)
    for text in texts:
        assert pieces(small, text) == pieces(whole, text)
        assert [kept[token] for token in small(text)["input_ids"]] == whole(text)["input_ids"]


def test_no_word_becomes_unknown() -> None:
    whole = tokenizer()
    small = cut_tokenizer(whole, pieces_to_keep(whole.get_vocab(), {}, 0))
    rng = random.Random(0)
    texts = ["".join(rng.choice(LETTERS + "  ") for _ in range(40)) for _ in range(50)] + WORDS
    for text in texts:
        assert "[UNK]" not in pieces(small, text)
    # What was unknown before still is.
    assert pieces(small, "火") == pieces(whole, "火") == ["[CLS]", "[UNK]", "[SEP]"]


def test_what_is_frequent_is_kept_first_and_then_what_comes_first() -> None:
    whole = tokenizer()
    vocabulary = whole.get_vocab()
    always = 2 * len(LETTERS) + 5
    counts = {vocabulary["town"]: 5, vocabulary["sea"]: 9, vocabulary["river"]: 1}
    names = [
        set(whole.convert_ids_to_tokens(pieces_to_keep(vocabulary, counts, always + room))) & set(WORDS)
        for room in range(5)
    ]
    assert names == [set(), {"sea"}, {"sea", "town"}, {"sea", "town", "the"}, {"sea", "town", "the", "cat"}]
    assert "[unused0]" not in whole.convert_ids_to_tokens(pieces_to_keep(vocabulary, counts, 1000))


def test_a_learned_vocabulary_is_the_same_each_time_and_has_its_special_tokens_first() -> None:
    texts = ["The lighthouse keeper lit the lamps."] * 3 + ["A light house is lighter than a lamp house."] * 5
    one, other = learn_tokenizer(texts, 60), learn_tokenizer(texts, 60)
    assert one.get_vocab() == other.get_vocab() and 30 < len(one) <= 60
    assert one.convert_ids_to_tokens(list(range(5))) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert "[UNK]" not in pieces(one, "THE HOUSE")


TEXTS = ["The old house was lost in the sea.", "A queen found the lamp."] * 4


def test_a_smaller_encoder_has_the_weights_of_what_it_keeps(encoder: Path) -> None:
    whole = BertModel.from_pretrained(encoder)
    start = make_start(str(encoder), Size(layers=1, units=48, pieces=110, window=32), TEXTS)
    network = start.network(BertForSequenceClassification, 0.3, num_labels=3)
    assert network.config.num_hidden_layers == 1 and network.config.max_position_embeddings == 32
    assert network.config.hidden_dropout_prob == 0.3 and network.classifier.out_features == 3
    names = start.tokenizer.convert_ids_to_tokens(list(range(len(start.tokenizer))))
    old = AutoTokenizer.from_pretrained(encoder).convert_tokens_to_ids(names)
    small, large = network.bert.state_dict(), whole.state_dict()
    words = "embeddings.word_embeddings.weight"
    assert torch.equal(small[words], large[words][old]) and len(names) == 110 < len(large[words])
    for name, value in small.items():
        if name != words:
            assert torch.equal(value, large[name][: len(value)]), name
    # With all layers, a text of kept words gives what it gave.
    start = make_start(str(encoder), Size(2, 48, 1000, 64), TEXTS)
    network = start.network(BertForSequenceClassification, 0.3).eval()
    given = start.tokenizer("The queen lost the lamp house.", return_tensors="pt")
    tokens = AutoTokenizer.from_pretrained(encoder).convert_tokens_to_ids(
        start.tokenizer.convert_ids_to_tokens(given["input_ids"][0].tolist())
    )
    assert len(tokens) > 8  # the checkpoint's own tokenizer would have cut it
    assert torch.allclose(
        network.bert(**given).last_hidden_state, whole(input_ids=torch.tensor([tokens])).last_hidden_state, atol=1e-5
    )


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "which has no model.safetensors; valid: none, or a"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"no"), "cannot be read as BERT: "),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "gpt2"}'), "as BERT: it is no BERT"),
        (lambda folder: (folder / "config.json").write_text("[]"), "cannot be read as BERT: "),
    ],
)
def test_a_folder_without_an_encoder_is_refused_in_one_line(tmp_path: Path, damage: Any, expected: str) -> None:
    damage(save_encoder(tmp_path))
    with pytest.raises(UserError, match=expected) as caught:
        make_start(str(tmp_path), Size(1, 48, 100, 16), TEXTS)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("size", [Size(3, 48, 100, 64), Size(2, 48, 100, 65)])
def test_an_encoder_that_is_too_small_is_refused(encoder: Path, size: Size) -> None:
    with pytest.raises(ConfigError, match="with 2 layers and 64 positions; valid: at least"):
        make_start(str(encoder), size, TEXTS)


def test_units_that_are_constant_or_unheard_are_dropped_without_a_change(encoder: Path) -> None:
    config = BertConfig.from_pretrained(encoder)
    weights = BertModel.from_pretrained(encoder).state_dict()
    words = make_start(str(encoder), Size(2, 48, 1000, 64), TEXTS).tokenizer
    weights["embeddings.word_embeddings.weight"] = weights["embeddings.word_embeddings.weight"][: len(words)]
    config.vocab_size = len(words)
    for layer in range(2):
        # Of 48 units the first 8 say the same to everything, and nobody hears the last 8.
        weights[f"encoder.layer.{layer}.intermediate.dense.weight"][:8] = 0
        weights[f"encoder.layer.{layer}.output.dense.weight"][:, -8:] = 0
    pruned = prune(weights, config, 32, words, TEXTS)
    assert pruned["encoder.layer.1.intermediate.dense.weight"].shape == (32, 32)
    given = words("Where was the wonderful cat?", return_tensors="pt")
    said = []
    for tensors, units in ((weights, 48), (pruned, 32)):
        model: Any = BertModel(BertConfig.from_dict({**config.to_dict(), "intermediate_size": units})).eval()
        model.load_state_dict(tensors)
        said.append(model(**given).last_hidden_state)
    assert torch.allclose(*said, atol=1e-5)


def test_activations_do_not_count_padding(encoder: Path) -> None:
    config, weights = BertConfig.from_pretrained(encoder), BertModel.from_pretrained(encoder).state_dict()
    words = make_start(str(encoder), Size(2, 48, 1000, 64), TEXTS).tokenizer
    texts = ["the cat", "the old dog found a very good house in the town"]
    together = activations(weights, config, words, texts)
    alone = [activations(weights, config, words, [text])[0] for text in texts]
    sizes = [len(words(text)["input_ids"]) for text in texts]
    mean = (alone[0] * sizes[0] + alone[1] * sizes[1]) / sum(sizes)
    assert torch.allclose(together[0], mean, atol=1e-5) and (together[1] > 0).all()


def item(number: int, length: int) -> EncodedText:
    return EncodedText([number] * length, [0] * length, torch.full((2, length), float(number)))


def test_texts_are_padded_to_the_longest_in_steps() -> None:
    batch = collate([item(7, 2), item(8, 3)], total=5)
    assert batch.inputs["input_ids"].tolist() == [[7, 7, *[0] * 6], [8, 8, 8, *[0] * 5]]
    assert batch.inputs["attention_mask"].tolist() == [[1, 1, *[0] * 6], [1, 1, 1, *[0] * 5]]
    assert batch.target.tolist() == [[[7, 7, *[0] * 6]] * 2, [[8, 8, 8, *[0] * 5]] * 2] and batch.total == 5
    labels = collate([EncodedText([1], [0], torch.tensor([3.0])), EncodedText([1, 2], [0, 1], torch.tensor([4.0]))])
    assert labels.target.tolist() == [[3], [4]] and labels.inputs["token_type_ids"][:, :2].tolist() == [[0, 0], [0, 1]]
    assert collate([item(1, 8), item(1, 1)]).inputs["input_ids"].shape == (2, 8)
    assert collate([item(1, 9)]).target.shape == (1, 2, 16)


def numbers(batches: TextBatches, epoch: int) -> list[list[int]]:
    return [batch.inputs["input_ids"][:, 0].tolist() for batch in batches.epoch(epoch)]


def test_an_epoch_shows_every_text_once_and_is_a_function_of_seed_and_number() -> None:
    rng = random.Random(0)
    texts = [item(number, rng.randint(1, 50)) for number in range(1, 104)]
    batches = TextBatches(lambda _: texts, 103, 4, seed=1)
    shown = numbers(batches, 1)
    assert len(shown) == len(batches) == 26
    assert sorted(number for batch in shown for number in batch) == list(range(1, 104))
    assert numbers(batches, 1) == shown == numbers(TextBatches(lambda _: texts, 103, 4, seed=1), 1)
    assert numbers(batches, 2) != shown != numbers(TextBatches(lambda _: texts, 103, 4, seed=2), 1)
    # Batches are of like length: without that, padding would be as much as text.
    padding = sum(int((batch.inputs["attention_mask"] == 0).sum()) for batch in batches.epoch(1))
    assert padding < 0.3 * sum(len(text.tokens) for text in texts)


def test_processes_share_each_batch() -> None:
    texts = [item(number, 1 + number % 5) for number in range(1, 14)]
    whole = numbers(TextBatches(lambda _: texts, 13, 4, seed=0), 3)
    parts = [TextBatches(lambda _: texts, 13, 4, seed=0, rank=rank, world_size=2) for rank in range(2)]
    # One text is left over for two processes, so its batch falls away.
    assert len(parts[0]) == 3
    first, second = (numbers(part, 3) for part in parts)
    together = [one + other for one, other in zip(first, second, strict=True)]
    assert sorted(together) == sorted(one for one in whole if len(one) == 4)
    assert all(batch.total == 4 for batch in parts[0].epoch(3))
