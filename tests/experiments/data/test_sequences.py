"""The reversal data set: what it holds, that its parts are disjoint, and in which order a training sees it."""

import numpy as np
import pytest
import torch

from experiments.config import ConfigError
from experiments.data.sequences import SequenceBatches, Sequences, make_sequences, probe_lengths
from models.seq2seq import BOS, EOS, PAD, SPECIALS

SIZES = (300, 50, 60)


def data(seed: int = 0, vocab_size: int = 9, shortest: int = 1, longest: int = 6, sizes: tuple[int, int, int] = SIZES):
    return make_sequences(vocab_size, shortest, longest, sizes=sizes, probe_size=20, seed=seed)


def rows(part: Sequences) -> set[tuple[int, ...]]:
    return {tuple(row[:length]) for row, length in zip(part.source.tolist(), part.lengths.tolist(), strict=True)}


def test_every_target_is_the_reverse_of_its_source_and_the_end() -> None:
    made = data()
    for part in (made.train, made.val, made.test, *made.probes.values()):
        for source, length, target, inputs in zip(part.source, part.lengths, part.target, part.inputs, strict=True):
            count = int(length) - 2
            symbols = source[1 : count + 1].tolist()
            assert source.tolist() == [BOS, *symbols, EOS] + [PAD] * (len(source) - count - 2)
            assert target.tolist() == [*symbols[::-1], EOS] + [PAD] * (len(target) - count - 1)
            assert inputs.tolist()[: count + 1] == [BOS, *symbols[::-1]]
            assert all(SPECIALS <= token < SPECIALS + 9 for token in symbols)


def test_parts_are_disjoint_and_probes_are_not_trained_on() -> None:
    made = data()
    train, val, test = rows(made.train), rows(made.val), rows(made.test)
    assert (len(train), len(val), len(test)) == SIZES  # no repetitions either
    assert not (train & val or train & test or val & test)
    assert sorted(made.probes) == [length for length in probe_lengths(6) if length > 1]  # all 9 of length 1 are used up
    for length, probe in made.probes.items():
        assert set((probe.lengths - 2).tolist()) == {length}
        assert not rows(probe) & (train | val | test)


def test_lengths_are_uniform_where_there_are_enough_sequences() -> None:
    lengths = data(shortest=4, longest=6, sizes=(3000, 1, 1)).train.lengths - 2
    counts = np.bincount(lengths.numpy())[4:]
    assert counts.sum() == 3000 and (abs(counts - 1000) < 100).all()  # three standard deviations are 77


def test_the_same_seed_gives_the_same_data_and_another_seed_other_data() -> None:
    one, same, other = data(0), data(0), data(1)
    assert torch.equal(one.train.source, same.train.source) and one.sha256 == same.sha256
    assert one.split_sha256 == same.split_sha256
    assert one.sha256 != other.sha256
    assert data(sizes=(290, 60, 60)).split_sha256 != one.split_sha256


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"shortest": 7}, "min_length is 7; valid: at most 6, which is max_length"),
        (
            {"vocab_size": 2, "longest": 3},
            r"ask for 410 different sequences, and only 14 .* 2 symbols and lengths 1 to 3",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments: dict[str, int], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        data(**arguments)


def batches(**changes) -> SequenceBatches:
    return SequenceBatches(data().train, **{"batch_size": 32, "seed": 0, "epochs": 5, **changes})


def test_an_epoch_has_every_pair_once_with_its_tokens_counted() -> None:
    found = batches()
    seen = list(found.epoch(1))
    assert len(seen) == len(found) == 10
    together = [row for batch in seen for row in rows(batch.pairs)]
    assert len(together) == 300 and set(together) == rows(data().train)
    assert sum(batch.tokens for batch in seen) == int((data().train.lengths - 1).sum())
    assert sum(batch.examples for batch in seen) == 300


def test_the_order_is_a_function_of_seed_and_epoch() -> None:
    def order(epoch: int, **changes) -> list[list[int]]:
        return [row for batch in batches(**changes).epoch(epoch) for row in batch.pairs.source.tolist()]

    assert order(2) == order(2) != order(3)
    assert order(2) != order(2, seed=1)


def test_pairs_of_similar_length_share_a_batch() -> None:
    spread = [int(batch.pairs.lengths.max() - batch.pairs.lengths.min()) for batch in batches().epoch(1)]
    assert max(spread) <= 2


def test_processes_share_each_batch_and_agree_on_its_tokens() -> None:
    parts = [list(batches(rank=rank, world_size=2).epoch(1)) for rank in (0, 1)]
    for whole, *halves in zip(batches().epoch(1), *parts, strict=True):
        assert rows(whole.pairs) == rows(halves[0].pairs) | rows(halves[1].pairs)
        assert {half.tokens for half in halves} == {whole.tokens}


def test_teacher_forcing_falls_in_a_straight_line() -> None:
    found = batches(teacher_forcing=0.2)
    shares = [next(found.epoch(epoch)).teacher_forcing for epoch in range(1, 6)]
    assert shares == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2])
