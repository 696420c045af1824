"""Greedy and beam search, on toy decoders whose right answer is known and on random networks by brute force."""

from itertools import product

import pytest
import torch

from models.seq2seq import ATTENTIONS, BOS, EOS, PAD, POSITIONS, SPECIALS, Seq2Seq, State, beam, build, greedy

VARIANTS = [("gru", attention, "none") for attention in ATTENTIONS] + [("lstm", "dot", "none")]
VARIANTS += [("transformer", "none", positions) for positions in POSITIONS]


class Countdown(Seq2Seq):
    """Says symbol 3 `lengths - 1` times and then EOS; behind EOS it babbles on. Notes the size of each step's batch."""

    def __init__(self) -> None:
        super().__init__(vocab_size=5)
        self.batches: list[int] = []

    def start(self, source: torch.Tensor, lengths: torch.Tensor) -> State:
        return State((lengths, torch.eye(source.size(1))[lengths - 1]), (torch.zeros_like(lengths),))

    def decode(self, tokens: torch.Tensor, state: State) -> tuple[torch.Tensor, torch.Tensor | None, State]:
        self.batches.append(len(tokens))
        count = state.carry[0].unsqueeze(1) + torch.arange(1, tokens.size(1) + 1)
        logits = torch.zeros(*tokens.shape, self.vocab_size)
        said = torch.where(count == state.memory[0].unsqueeze(1), EOS, SPECIALS)
        logits.scatter_(2, said.unsqueeze(2), 5.0)
        attention = state.memory[1].unsqueeze(1).expand(-1, tokens.size(1), -1)
        return logits, attention, State(state.memory, (count[:, -1],))


class Scripted(Seq2Seq):
    """Log probabilities by the previous token, the same for all rows: `table` (V, V)."""

    def __init__(self, table: torch.Tensor) -> None:
        super().__init__(len(table))
        self.table = table

    def start(self, source: torch.Tensor, lengths: torch.Tensor) -> State:
        return State((source,), (lengths,))

    def decode(self, tokens: torch.Tensor, state: State) -> tuple[torch.Tensor, torch.Tensor | None, State]:
        return self.table[tokens], None, state


def network_and_batch(variant: tuple[str, str, str], vocab_size: int) -> tuple[Seq2Seq, torch.Tensor, torch.Tensor]:
    """A random network that is sure of itself: fresh ones say everything with about the same probability."""
    torch.manual_seed(5)
    network = build(*variant, vocab_size, 16, max_length=12).eval()
    network.output.weight.data *= 6
    lengths = torch.tensor([5, 2, 8, 3, 6])
    source = torch.randint(SPECIALS, vocab_size, (5, 8))
    return network, source, lengths


def check_log_probability(network: Seq2Seq, source: torch.Tensor, lengths: torch.Tensor, decoded) -> None:
    """The sum over the tokens said is what teacher forcing gives them."""
    inputs = torch.cat([torch.full((len(source), 1), BOS), decoded.tokens[:, :-1]], dim=1)
    with torch.no_grad():
        of_tokens = network(source, lengths, inputs).logits.log_softmax(-1).gather(2, decoded.tokens.unsqueeze(2))
    said = torch.arange(decoded.tokens.size(1)) < decoded.lengths.unsqueeze(1)
    expected = of_tokens.squeeze(2).masked_fill(~said, 0).sum(1)
    torch.testing.assert_close(decoded.log_probability, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("search", [greedy, lambda *arguments: beam(*arguments, 2)], ids=["greedy", "beam"])
def test_stops_at_eos_pads_behind_it_and_drops_what_is_done(search) -> None:
    network = Countdown()
    lengths = torch.tensor([2, 7, 1, 3, 2])
    decoded = search(network, torch.zeros(5, 8, dtype=torch.int64), lengths, 20)
    assert decoded.lengths.tolist() == lengths.tolist()
    assert decoded.tokens.tolist() == [[3] * (n - 1) + [EOS] + [PAD] * (7 - n) for n in lengths.tolist()]
    assert decoded.attention.shape == (5, 7, 8)
    for row, length in enumerate(lengths.tolist()):
        assert (decoded.attention[row, :length, length - 1] == 1).all()
        assert not decoded.attention[row, length:].any()
    assert len(network.batches) <= 8  # and not the twenty it was allowed
    width = network.batches[0] // len(lengths)
    assert network.batches[6] == width  # one row is left


def test_stops_at_max_steps() -> None:
    decoded = greedy(Countdown(), torch.zeros(2, 9, dtype=torch.int64), torch.tensor([9, 2]), 4)
    assert decoded.tokens.tolist() == [[3, 3, 3, 3], [3, EOS, PAD, PAD]]
    assert decoded.lengths.tolist() == [4, 2]


@pytest.mark.parametrize("variant", VARIANTS, ids="-".join)
def test_greedy_gives_a_row_what_it_gets_alone(variant: tuple[str, str, str]) -> None:
    network, source, lengths = network_and_batch(variant, vocab_size=6)
    together = greedy(network, source, lengths, 9)
    check_log_probability(network, source, lengths, together)
    for row in range(len(source)):
        alone = greedy(network, source[row : row + 1, : lengths[row]], lengths[row : row + 1], 9)
        said = int(alone.lengths)
        assert together.tokens[row].tolist()[:said] == alone.tokens[0].tolist()
        assert (together.tokens[row, said:] == PAD).all()
        torch.testing.assert_close(together.log_probability[row], alone.log_probability[0], rtol=1e-4, atol=1e-4)
        if alone.attention is not None:
            actual = together.attention[row, :said, : lengths[row]]
            torch.testing.assert_close(actual, alone.attention[0], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
@pytest.mark.parametrize("variant", VARIANTS, ids="-".join)
def test_beam_of_width_one_is_greedy(variant: tuple[str, str, str], length_penalty: float) -> None:
    network, source, lengths = network_and_batch(variant, vocab_size=6)
    expected, actual = greedy(network, source, lengths, 9), beam(network, source, lengths, 9, 1, length_penalty)
    assert torch.equal(actual.tokens, expected.tokens)
    assert torch.equal(actual.lengths, expected.lengths)
    torch.testing.assert_close(actual.log_probability, expected.log_probability, rtol=1e-4, atol=1e-4)
    if expected.attention is None:
        assert actual.attention is None
    else:
        torch.testing.assert_close(actual.attention, expected.attention, rtol=1e-3, atol=1e-4)


class Tree(Seq2Seq):
    """Random logits for every prefix of each of `rows` sources, the source being the number of its row."""

    def __init__(self, rows: int, steps: int) -> None:
        super().__init__(vocab_size=4)
        prefixes = self.vocab_size ** (steps + 1)
        self.logits = 2 * torch.randn(rows, prefixes, self.vocab_size, generator=torch.Generator().manual_seed(1))

    def start(self, source: torch.Tensor, lengths: torch.Tensor) -> State:
        return State((source[:, 0],), (torch.zeros_like(lengths),))

    def decode(self, tokens: torch.Tensor, state: State) -> tuple[torch.Tensor, torch.Tensor | None, State]:
        prefix, logits = state.carry[0], []
        for token in tokens.unbind(1):
            prefix = prefix * self.vocab_size + token
            logits.append(self.logits[state.memory[0], prefix])
        return torch.stack(logits, dim=1), None, State(state.memory, (prefix,))


ROWS, DEPTH = 100, 4
SOURCES = torch.arange(ROWS).unsqueeze(1), torch.ones(ROWS, dtype=torch.int64)


@pytest.mark.parametrize("length_penalty", [0.0, 1.0, 3.0])
def test_beam_of_full_width_finds_the_best_sequence(length_penalty: float) -> None:
    network = Tree(ROWS, DEPTH)
    sequences = [(*body, EOS) for size in range(DEPTH) for body in product((PAD, BOS, SPECIALS), repeat=size)]
    decoded = beam(network, *SOURCES, DEPTH, len(sequences) + 1, length_penalty)
    scores = []
    for sequence in sequences:
        inputs = torch.tensor([BOS, *sequence[:-1]]).expand(ROWS, -1)
        of_tokens = network(*SOURCES, inputs).logits.log_softmax(-1)[:, torch.arange(len(sequence)), list(sequence)]
        scores.append(of_tokens.sum(1) / ((5 + len(sequence)) / 6) ** length_penalty)
    best = [sequences[index] for index in torch.stack(scores).argmax(0).tolist()]
    assert [tuple(row[:length]) for row, length in zip(decoded.tokens.tolist(), decoded.lengths, strict=True)] == best
    assert set(decoded.lengths.tolist()) == {1, 2, 3, 4}  # or the test would show less
    check_log_probability(network, *SOURCES, decoded)


def test_a_wider_beam_finds_likelier_sequences_and_width_one_greedys() -> None:
    network = Tree(ROWS, DEPTH)
    narrow, wide = beam(network, *SOURCES, DEPTH, 1), beam(network, *SOURCES, DEPTH, 4)
    assert torch.equal(narrow.tokens, greedy(network, *SOURCES, DEPTH).tokens)
    ended = (narrow.tokens == EOS).any(1)
    assert ended.sum() > 10
    gain = (wide.log_probability - narrow.log_probability)[ended]
    # On the whole, not row by row: a wider beam may fill with what looks better early and lose the narrow one's path.
    assert gain.mean() > 0
    assert (gain > 0.1).sum() > (gain < -0.1).sum()


def probabilities(rows: dict[int, dict[int, float]]) -> torch.Tensor:
    """Table (6, 6) of log probabilities; what is not named is all but impossible."""
    table = torch.full((6, 6), 1e-6)
    for token, following in rows.items():
        for successor, probability in following.items():
            table[token, successor] = probability
    return (table / table.sum(1, keepdim=True)).log()


# The likelier first token, 3, leads to less likely endings than 4 does; 5 ends at once.
GARDEN_PATH = probabilities(
    {BOS: {3: 0.5, 4: 0.4, EOS: 0.1}, 3: {3: 0.4, 4: 0.3, EOS: 0.3}, 4: {EOS: 0.9, 5: 0.1}, 5: {EOS: 1.0}}
)
ONE = torch.tensor([[BOS]]), torch.tensor([1])


def test_a_beam_sees_past_the_likelier_first_token() -> None:
    network = Scripted(GARDEN_PATH)
    assert greedy(network, *ONE, 3).tokens[0].tolist() == [3, 3, 3]
    decoded = beam(network, *ONE, 3, width=2)
    assert decoded.tokens[0].tolist() == [4, EOS]
    assert decoded.log_probability.exp().item() == pytest.approx(0.36, abs=1e-3)


def test_length_penalty_prefers_longer_sequences() -> None:
    table = probabilities({BOS: {EOS: 0.4, 3: 0.6}, 3: {4: 0.6, 5: 0.4}, 4: {EOS: 0.9, 5: 0.1}, 5: {EOS: 1.0}})
    network = Scripted(table)
    assert beam(network, *ONE, 4, width=3).tokens[0].tolist() == [EOS]
    decoded = beam(network, *ONE, 4, width=3, length_penalty=2.0)
    assert decoded.tokens[0].tolist() == [3, 4, EOS]
    assert decoded.log_probability.exp().item() == pytest.approx(0.6 * 0.6 * 0.9, abs=1e-3)


def test_a_row_that_never_ends_returns_its_best_hypothesis() -> None:
    network = Scripted(probabilities({BOS: {3: 0.6, 4: 0.4}, 3: {4: 1.0}, 4: {3: 1.0}}))
    decoded = beam(network, *ONE, 3, width=2)
    assert decoded.tokens[0].tolist() == [3, 4, 3]
    assert decoded.log_probability.exp().item() == pytest.approx(0.6, abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_steps": 0, "width": 2}, "max_steps is 0; valid: 1 or more"),
        ({"max_steps": 3, "width": 0}, "width is 0; valid: 1 or more"),
        ({"max_steps": 3, "width": 2, "length_penalty": -1.0}, "length_penalty is -1.0; valid: 0 or more"),
    ],
)
def test_numbers_out_of_range_raise(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        beam(Countdown(), *ONE, **options)


def test_greedy_wants_a_step() -> None:
    with pytest.raises(ValueError, match="max_steps is 0; valid: 1 or more"):
        greedy(Countdown(), *ONE, 0)
