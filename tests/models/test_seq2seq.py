"""What every sequence-to-sequence network must do, by variant; `test_seq2seq_parity.py` holds them to their papers."""

import pytest
import torch
import torch.nn.functional as F

from models.seq2seq import ATTENTIONS, BOS, CELLS, EOS, PAD, POSITIONS, SPECIALS, Seq2Seq, build, greedy
from models.seq2seq.positions import CLIP
from models.seq2seq.transformer import Transformer

VOCAB = 15
# Two layers where a variant has a cell of either kind, so that both depths are run.
LAYERS = {"gru": 2, "lstm": 1, "transformer": 2}
VARIANTS = [(cell, attention, "none") for cell in ("gru", "lstm") for attention in ATTENTIONS] + [
    ("transformer", "none", positions) for positions in POSITIONS
]
LENGTHS = torch.tensor([8, 3, CLIP + 4, 2])
STEPS = 6


def make(variant: tuple[str, str, str], layers: int | None = None, dropout: float = 0.0) -> Seq2Seq:
    torch.manual_seed(0)
    return build(*variant, VOCAB, 32, max_length=30, dropout=dropout, layers=layers or LAYERS[variant[0]])


@pytest.fixture(scope="module", params=VARIANTS, ids="-".join)
def variant(request: pytest.FixtureRequest) -> tuple[str, str, str]:
    return request.param


@pytest.fixture(scope="module")
def network(variant: tuple[str, str, str]) -> Seq2Seq:
    return make(variant).eval()


@pytest.fixture(scope="module")
def source() -> torch.Tensor:
    """Behind a row's length come symbols and not PAD: it is the length that says what is padding."""
    generator = torch.Generator().manual_seed(1)
    return torch.randint(SPECIALS, VOCAB, (len(LENGTHS), int(LENGTHS.max())), generator=generator)


@pytest.fixture(scope="module")
def target() -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(SPECIALS, VOCAB, (len(LENGTHS), STEPS), generator=generator)
    tokens[:, 0] = BOS
    return tokens


@torch.no_grad()
def test_padding_changes_nothing(network: Seq2Seq, source: torch.Tensor, target: torch.Tensor) -> None:
    together = network(source, LENGTHS, target)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = network(source[row : row + 1, :length], LENGTHS[row : row + 1], target[row : row + 1])
        torch.testing.assert_close(together.logits[row], alone.logits[0], rtol=1e-4, atol=1e-5)
        if together.attention is not None and alone.attention is not None:
            torch.testing.assert_close(together.attention[row, :, :length], alone.attention[0], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_attention_is_a_distribution_over_the_source(
    variant: tuple[str, str, str], network: Seq2Seq, source: torch.Tensor, target: torch.Tensor
) -> None:
    attention = network(source, LENGTHS, target).attention
    if variant[0] != "transformer" and variant[1] == "none":
        assert attention is None
        return
    assert attention is not None
    assert attention.dtype == torch.float32
    assert attention.shape == (len(LENGTHS), STEPS, source.size(1))
    torch.testing.assert_close(attention.sum(-1), torch.ones(len(LENGTHS), STEPS))
    assert all((attention[row, :, :length] > 0).all() for row, length in enumerate(LENGTHS))
    assert all((attention[row, :, length:] == 0).all() for row, length in enumerate(LENGTHS))


@torch.no_grad()
def test_all_steps_at_once_are_one_step_after_another(
    network: Seq2Seq, source: torch.Tensor, target: torch.Tensor
) -> None:
    together = network(source, LENGTHS, target)
    state = network.start(source, LENGTHS)
    for step in range(STEPS):
        logits, attention, state = network.step(target[:, step], state)
        torch.testing.assert_close(logits, together.logits[:, step], rtol=1e-4, atol=1e-5)
        if together.attention is not None:
            torch.testing.assert_close(attention, together.attention[:, step], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_future_changes_no_earlier_logits(network: Seq2Seq, source: torch.Tensor, target: torch.Tensor) -> None:
    changed = target.clone()
    changed[:, 3] = (changed[:, 3] - SPECIALS + 1) % (VOCAB - SPECIALS) + SPECIALS
    before, after = network(source, LENGTHS, target).logits, network(source, LENGTHS, changed).logits
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert ((before - after).abs().amax(-1)[:, 3:] > 1e-6).all()


@torch.no_grad()
def test_every_token_of_the_source_matters(network: Seq2Seq, source: torch.Tensor, target: torch.Tensor) -> None:
    before = network(source, LENGTHS, target).logits
    for position in range(int(LENGTHS[0])):
        changed = source.clone()
        changed[:, position] = (changed[:, position] - SPECIALS + 1) % (VOCAB - SPECIALS) + SPECIALS
        assert not torch.equal(before[0], network(changed, LENGTHS, target).logits[0])


@torch.no_grad()
def test_a_selected_state_goes_on_as_its_rows(network: Seq2Seq, source: torch.Tensor, target: torch.Tensor) -> None:
    _, _, state = network.step(target[:, 0], network.start(source, LENGTHS))
    index = torch.tensor([2, 0, 2])
    expected = network.step(target[:, 1], state)[0][index]
    torch.testing.assert_close(network.step(target[index, 1], state.select(index))[0], expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_reordered_state_swaps_hypotheses_of_one_source(network: Seq2Seq) -> None:
    source, lengths = torch.full((2, 4), SPECIALS), torch.tensor([4, 4])
    _, _, state = network.step(torch.tensor([3, 4]), network.start(source, lengths))
    logits, swapped = (network.step(torch.tensor([5, 5]), s)[0] for s in (state, state.reorder(torch.tensor([1, 0]))))
    torch.testing.assert_close(swapped, logits.flip(0))
    assert not torch.allclose(swapped, logits)


def test_every_parameter_gets_a_gradient(
    variant: tuple[str, str, str], source: torch.Tensor, target: torch.Tensor
) -> None:
    network = make(variant)
    network(source, LENGTHS, target).logits.square().mean().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@torch.no_grad()
def test_dropout_is_for_training_only(
    variant: tuple[str, str, str], source: torch.Tensor, target: torch.Tensor
) -> None:
    network = make(variant, dropout=0.5)
    assert not torch.equal(network(source, LENGTHS, target).logits, network(source, LENGTHS, target).logits)
    network.eval()
    assert torch.equal(network(source, LENGTHS, target).logits, make(variant)(source, LENGTHS, target).logits)


@torch.no_grad()
def test_state_dict_round_trip(
    variant: tuple[str, str, str], network: Seq2Seq, source: torch.Tensor, target: torch.Tensor
) -> None:
    torch.manual_seed(7)
    other = build(*variant, VOCAB, 32, max_length=30, layers=LAYERS[variant[0]]).eval()
    expected = network(source, LENGTHS, target).logits
    assert not torch.equal(other(source, LENGTHS, target).logits, expected)
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(source, LENGTHS, target).logits, expected)


def test_builds_without_memory(variant: tuple[str, str, str], network: Seq2Seq) -> None:
    with torch.device("meta"):
        shadow = make(variant)
    assert all(tensor.is_meta for tensor in shadow.state_dict().values())
    assert {key: tensor.shape for key, tensor in shadow.state_dict().items()} == {
        key: tensor.shape for key, tensor in network.state_dict().items()
    }


def test_bfloat16_autocast(
    variant: tuple[str, str, str], network: Seq2Seq, source: torch.Tensor, target: torch.Tensor
) -> None:
    """Attention stays float32, or its rows would miss 1 by per cents."""
    if variant[0] == "lstm" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("this CPU has no LSTM in bf16")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        logits, attention = network(source, LENGTHS, target)
    torch.testing.assert_close(logits.float(), network(source, LENGTHS, target).logits, rtol=0.1, atol=0.1)
    if attention is not None:
        assert attention.dtype == torch.float32
        torch.testing.assert_close(attention.sum(-1), torch.ones(len(LENGTHS), STEPS))


def test_learns_reversal_by_heart(variant: tuple[str, str, str]) -> None:
    """Eight pairs of 2 to 4 symbols, then free-running."""
    network = make(variant, layers=1)
    generator = torch.Generator().manual_seed(3)
    rows = [torch.randint(SPECIALS, VOCAB, (2 + row % 3,), generator=generator) for row in range(8)]
    ends = torch.tensor([EOS])
    begins = torch.tensor([BOS])
    source = pad([torch.cat([begins, row, ends]) for row in rows])
    inputs = pad([torch.cat([begins, row.flip(0)]) for row in rows])
    outputs = pad([torch.cat([row.flip(0), ends]) for row in rows])
    lengths = torch.tensor([len(row) + 2 for row in rows])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01, fused=True)
    for _ in range(250):
        loss = F.cross_entropy(
            network(source, lengths, inputs).logits.flatten(0, 1), outputs.flatten(), ignore_index=PAD
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss < 0.02:
            break
    network.eval()
    decoded = greedy(network, source, lengths, max_steps=8)
    assert decoded.tokens.tolist() == outputs.tolist(), f"the loss is still {loss.item():.3f}"
    assert decoded.lengths.tolist() == [len(row) + 1 for row in rows]


def pad(rows: list[torch.Tensor]) -> torch.Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)


@pytest.mark.parametrize("positions", POSITIONS)
@torch.no_grad()
def test_transformer_shows_the_layer_asked_for(positions: str, source: torch.Tensor, target: torch.Tensor) -> None:
    """Logits stay the same: the layer that shows its weights computes what the fused kernel does."""
    options = {"max_length": 30, "dropout": 0.0, "heads": 4, "layers": 2}
    first, last, default = (
        Transformer(positions, VOCAB, 32, **options, **layer)
        for layer in ({"attention_layer": 0}, {"attention_layer": 1}, {})
    )
    for other in (last, default):
        other.load_state_dict(first.state_dict())
    of_first, of_last, of_default = (net(source, LENGTHS, target) for net in (first, last, default))
    torch.testing.assert_close(of_first.logits, of_last.logits, rtol=1e-4, atol=1e-5)
    assert torch.equal(of_last.attention, of_default.attention)
    assert not torch.allclose(of_first.attention, of_last.attention, atol=1e-3)


@torch.no_grad()
def test_learned_positions_run_past_their_table() -> None:
    network = build("transformer", "none", "learned", VOCAB, 32, max_length=4).eval()
    source = torch.full((1, 9), SPECIALS)
    assert network(source, torch.tensor([9]), source).logits.isfinite().all()


def test_attention_is_ignored_by_transformers_and_positions_by_recurrent_cells() -> None:
    def shapes(cell: str, attention: str, positions: str) -> list[torch.Size]:
        with torch.device("meta"):
            network = build(cell, attention, positions, VOCAB, 32, max_length=9)
        return [parameter.shape for parameter in network.parameters()]

    assert shapes("transformer", "dot", "rotary") == shapes("transformer", "additive", "rotary")
    assert shapes("gru", "dot", "none") == shapes("gru", "dot", "learned")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("rnn", "dot", "none"), f"unknown cell 'rnn'; valid: {', '.join(CELLS)}"),
        (("gru", "Dot", "none"), f"unknown attention 'Dot'; valid: {', '.join(ATTENTIONS)}"),
        (("transformer", "soft", "none"), f"unknown attention 'soft'; valid: {', '.join(ATTENTIONS)}"),
        (("transformer", "dot", "alibi"), f"unknown positions 'alibi'; valid: {', '.join(POSITIONS)}"),
    ],
)
def test_unknown_names_raise_and_list_the_names(names: tuple[str, str, str], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        build(*names, VOCAB, 32, max_length=9)


@pytest.mark.parametrize(
    ("names", "sizes", "message"),
    [
        (("gru", "dot", "none"), {"vocab_size": 3}, "vocab_size is 3; valid: 4 or more"),
        (("gru", "dot", "none"), {"hidden_size": 0}, "hidden_size is 0; valid: 1 or more"),
        (("gru", "dot", "none"), {"max_length": 0}, "max_length is 0; valid: 1 or more"),
        (("gru", "dot", "none"), {"layers": 0}, "layers is 0; valid: 1 or more"),
        (("gru", "dot", "none"), {"dropout": 1.0}, "dropout is 1.0; valid: at least 0 and below 1"),
        (("gru", "multihead", "none"), {"heads": 5}, "heads is 5; valid: a divisor of hidden_size, which is 32"),
        (("transformer", "dot", "none"), {"heads": 5}, "heads is 5; valid: a divisor of hidden_size, which is 32"),
        (("transformer", "dot", "rotary"), {"heads": 32}, "valid for rotary: an even multiple of heads, 32"),
        (("transformer", "dot", "relative"), {"heads": 1}, "heads is 1; valid for relative: even"),
        (
            ("transformer", "dot", "sinusoidal"),
            {"hidden_size": 33, "heads": 3},
            "hidden_size is 33; valid for sinusoidal: even",
        ),
    ],
)
def test_sizes_that_do_not_fit_raise(names: tuple[str, str, str], sizes: dict[str, int], message: str) -> None:
    options = {"vocab_size": VOCAB, "hidden_size": 32, "max_length": 9} | sizes
    with pytest.raises(ValueError, match=message):
        build(*names, **options)
