"""The parts of the sequence-to-sequence networks against torch's with copied weights, or a small case by hand."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models.seq2seq import BOS, SPECIALS, build
from models.seq2seq.attention import AdditiveAttention, Attention, DotAttention, GeneralAttention, MultiHeadAttention
from models.seq2seq.base import padding_mask
from models.seq2seq.blocks import DecoderLayer, EncoderLayer, Geometry, MultiHead
from models.seq2seq.encoder import RecurrentEncoder
from models.seq2seq.positions import CLIP, RelativeScores, cross_distances, rotate, self_distances, sinusoidal

BATCH, STEPS, SOURCE, SIZE, HEADS = 3, 5, 7, 16, 4
LENGTHS = torch.tensor([7, 4, 1])
PADDING = padding_mask(LENGTHS, SOURCE)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def attend(attention: Attention, query: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.no_grad():
        return attention(query, *attention.prepare(memory), PADDING)


def copy_projections(ours: MultiHeadAttention | MultiHead, theirs: nn.MultiheadAttention) -> None:
    """Random weights and biases, the same in both."""
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    for part, weight, bias in zip(
        (ours.query, ours.key, ours.value), theirs.in_proj_weight.chunk(3), theirs.in_proj_bias.chunk(3), strict=True
    ):
        part.load_state_dict({"weight": weight, "bias": bias})
    ours.output.load_state_dict(theirs.out_proj.state_dict())


@pytest.mark.parametrize("scale", [1.0, SIZE**-0.5])
def test_dot_is_torchs_scaled_dot_product_attention(scale: float) -> None:
    query, memory = random(BATCH, STEPS, SIZE), random(BATCH, SOURCE, SIZE, seed=1)
    context, _ = attend(DotAttention(SIZE, scale), query, memory)
    expected = F.scaled_dot_product_attention(query, memory, memory, ~PADDING.unsqueeze(1), scale=scale)
    torch.testing.assert_close(context, expected)


@pytest.mark.parametrize(("attention", "scale"), [("dot", 1.0), ("scaled_dot", SIZE**-0.5)])
def test_names_have_the_scale_of_their_paper(attention: str, scale: float) -> None:
    with torch.device("meta"):
        network = build("gru", attention, "none", 10, SIZE, max_length=9)
    assert isinstance(network.attention, DotAttention)
    assert network.attention.scale == scale


def test_general_asks_with_a_matrix() -> None:
    torch.manual_seed(0)
    attention = GeneralAttention(SIZE)
    query, memory = random(BATCH, STEPS, SIZE), random(BATCH, SOURCE, SIZE, seed=1)
    context, _ = attend(attention, query, memory)
    keys = torch.einsum("ij,bsj->bsi", attention.key.weight.detach(), memory)
    expected = F.scaled_dot_product_attention(query, keys, memory, ~PADDING.unsqueeze(1), scale=1.0)
    torch.testing.assert_close(context, expected)


def test_additive_by_hand() -> None:
    """One query of size 1, a memory of two positions of size 2 and one of padding, two hidden units."""
    attention = AdditiveAttention(1, 2, 2)
    attention.query.load_state_dict({"weight": torch.tensor([[0.5], [-1.0]])})
    attention.key.load_state_dict({"weight": torch.tensor([[1.0, 0.0], [2.0, 1.0]]), "bias": torch.tensor([0.1, 0.0])})
    attention.score.load_state_dict({"weight": torch.tensor([[3.0, -2.0]])})
    memory = torch.tensor([[[1.0, -1.0], [0.0, 2.0], [9.0, 9.0]]])
    padding = torch.tensor([[False, False, True]])
    with torch.no_grad():
        context, weights = attention(torch.tensor([[[2.0]]]), *attention.prepare(memory), padding)
    # W q = (1, -2); U k + b = (1.1, 1) and (0.1, 2).
    scores = [3 * math.tanh(1 + 1.1) - 2 * math.tanh(-2 + 1), 3 * math.tanh(1 + 0.1) - 2 * math.tanh(-2 + 2)]
    first = math.exp(scores[0]) / (math.exp(scores[0]) + math.exp(scores[1]))
    torch.testing.assert_close(weights, torch.tensor([[[first, 1 - first, 0.0]]]))
    torch.testing.assert_close(context, torch.tensor([[[first, 2 - 3 * first]]]))


def test_multihead_is_torchs() -> None:
    theirs = nn.MultiheadAttention(SIZE, HEADS, batch_first=True)
    ours = MultiHeadAttention(SIZE, HEADS)
    copy_projections(ours, theirs)
    query, memory = random(BATCH, STEPS, SIZE), random(BATCH, SOURCE, SIZE, seed=1)
    context, weights = attend(ours, query, memory)
    with torch.no_grad():
        expected, expected_weights = theirs(query, memory, memory, key_padding_mask=PADDING)
    torch.testing.assert_close(context, expected)
    torch.testing.assert_close(weights, expected_weights)


@pytest.mark.parametrize(("attention", "before"), [("additive", True), ("dot", False), ("concat", False)])
@torch.no_grad()
def test_additive_asks_before_it_reads_a_token_and_the_others_after(attention: str, before: bool) -> None:
    """Bahdanau et al. 2015: the state s(t-1) asks; Luong et al. 2015: the state h(t)."""
    torch.manual_seed(0)
    network = build("gru", attention, "none", 10, SIZE, max_length=9).eval()
    source, lengths = torch.tensor([[BOS, 4, 5, 6]]), torch.tensor([4])
    one, other = (
        network(source, lengths, torch.tensor([[BOS, token, 3]])).attention for token in (SPECIALS, SPECIALS + 1)
    )
    assert torch.equal(one[:, 1], other[:, 1]) == before
    assert not torch.equal(one[:, 2], other[:, 2])


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@torch.no_grad()
def test_encoder_is_torchs_on_a_row_without_padding(cell: str) -> None:
    torch.manual_seed(0)
    encoder = RecurrentEncoder(cell, SIZE, SIZE, layers=2, dropout=0.0)
    embedded = random(BATCH, SOURCE, SIZE)
    annotations, carry = encoder(embedded, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        outputs, final = encoder.rnn(embedded[row : row + 1, :length])
        torch.testing.assert_close(annotations[row, :length], outputs[0])
        assert not annotations[row, length:].any()
        # The forward direction ends on the last token, the backward one on the first: those are the top layer's states.
        ends = torch.cat([outputs[0, -1, :SIZE], outputs[0, 0, SIZE:]])
        torch.testing.assert_close(carry[0][row, 1], torch.tanh(encoder.bridges[0](ends)))
        cells = final if isinstance(final, tuple) else (final,)
        lower = [
            torch.tanh(bridge(state[:2, 0].flatten())) for bridge, state in zip(encoder.bridges, cells, strict=True)
        ]
        torch.testing.assert_close([state[row, 0] for state in carry], lower)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_recurrent_weights_are_orthogonal_and_the_forget_gate_starts_open(cell: str) -> None:
    torch.manual_seed(0)
    rnn = RecurrentEncoder(cell, SIZE, SIZE, layers=1, dropout=0.0).rnn
    for name, parameter in rnn.named_parameters():
        gates = parameter.detach().split(SIZE)
        if name.startswith("weight_hh"):
            for gate in gates:
                torch.testing.assert_close(gate @ gate.T, torch.eye(SIZE), rtol=0, atol=1e-5)
        if name.startswith("bias"):
            forget = cell == "lstm" and name.startswith("bias_ih")
            assert [gate.unique().tolist() for gate in gates] == [
                [1.0] if forget and index == 1 else [0.0] for index in range(len(gates))
            ]


@pytest.mark.parametrize("norm_first", [True, False])
@torch.no_grad()
def test_encoder_layer_is_torchs(norm_first: bool) -> None:
    theirs = nn.TransformerEncoderLayer(
        SIZE, HEADS, 4 * SIZE, dropout=0.0, batch_first=True, norm_first=norm_first
    ).eval()
    ours = EncoderLayer(SIZE, HEADS, "none", 0.0, norm_first).eval()
    copy_projections(ours.attention, theirs.self_attn)
    copy_rest(ours, theirs, [ours.around_attention, ours.around_feed_forward])
    x, places = random(BATCH, SOURCE, SIZE), torch.arange(SOURCE)
    actual = ours(x, Geometry(places, places, PADDING[:, None, None]))
    expected = theirs(x, src_key_padding_mask=PADDING)
    torch.testing.assert_close(actual[~PADDING], expected[~PADDING])


@pytest.mark.parametrize("norm_first", [True, False])
@torch.no_grad()
def test_decoder_layer_is_torchs(norm_first: bool) -> None:
    theirs = nn.TransformerDecoderLayer(
        SIZE, HEADS, 4 * SIZE, dropout=0.0, batch_first=True, norm_first=norm_first
    ).eval()
    ours = DecoderLayer(SIZE, HEADS, "none", 0.0, norm_first).eval()
    copy_projections(ours.self_attention, theirs.self_attn)
    copy_projections(ours.cross_attention, theirs.multihead_attn)
    copy_rest(ours, theirs, [ours.around_self, ours.around_cross, ours.around_feed_forward])
    x, memory = random(BATCH, STEPS, SIZE), random(BATCH, SOURCE, SIZE, seed=1)
    steps, places = torch.arange(STEPS), torch.arange(SOURCE)
    future = steps > steps.unsqueeze(1)
    nothing = torch.empty(BATCH, HEADS, 0, SIZE // HEADS)
    expected = theirs(x, memory, tgt_mask=future, memory_key_padding_mask=PADDING)
    for with_weights in (True, False):
        actual, weights, _ = ours(
            x,
            ours.remember(memory, places),
            (nothing, nothing),
            Geometry(steps, steps, future),
            Geometry(steps, places, PADDING[:, None, None]),
            with_weights,
        )
        torch.testing.assert_close(actual, expected)
        assert (weights is not None) == with_weights


def copy_rest(
    ours: EncoderLayer | DecoderLayer,
    theirs: nn.TransformerEncoderLayer | nn.TransformerDecoderLayer,
    sublayers: list[nn.Module],
) -> None:
    """Feed-forward network and layer norms, which are randomized first, for a fresh norm does nothing but normalize."""
    for number, sublayer in enumerate(sublayers, start=1):
        norm = theirs.get_submodule(f"norm{number}")
        nn.init.normal_(norm.weight, mean=1.0)
        nn.init.normal_(norm.bias)
        sublayer.norm.load_state_dict(norm.state_dict())
    ours.feed_forward[0].load_state_dict(theirs.linear1.state_dict())
    ours.feed_forward[2].load_state_dict(theirs.linear2.state_dict())


def test_sinusoidal_by_hand() -> None:
    rows = sinusoidal(torch.tensor([0, 3]), 4)
    expected = [[0.0, 1.0, 0.0, 1.0], [math.sin(3), math.cos(3), math.sin(0.03), math.cos(0.03)]]
    torch.testing.assert_close(rows, torch.tensor(expected))


def test_rotary_products_depend_on_the_distance_only() -> None:
    query, key = random(1, 1, 1, 8).expand(1, 1, 9, 8), random(1, 1, 1, 8, seed=1).expand(1, 1, 9, 8)
    places = torch.arange(9)
    products = (rotate(query, places) @ rotate(key, places).transpose(2, 3))[0, 0]
    for distance in range(-8, 9):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal))
    assert products[0].std() > 0.1
    torch.testing.assert_close(rotate(query, places + 100).norm(dim=-1), query.norm(dim=-1))


def test_relative_scores_by_loop() -> None:
    torch.manual_seed(0)
    relative = RelativeScores(HEADS, 8)
    query = random(BATCH, HEADS, STEPS, 8)
    distances = torch.arange(-20, 20, 2).expand(STEPS, -1) + torch.arange(STEPS).unsqueeze(1)
    scores = relative(query, distances)
    for step in range(STEPS):
        for key in range(distances.size(1)):
            row = max(-CLIP, min(CLIP, int(distances[step, key]))) + CLIP
            expected = (query[:, :, step] * relative.keys[:, row]).sum(-1)
            torch.testing.assert_close(scores[:, :, step, key], expected)


@pytest.mark.parametrize("positions", ["rotary", "relative"])
@torch.no_grad()
def test_attention_does_not_see_a_shift_of_all_positions(positions: str) -> None:
    torch.manual_seed(0)
    attention = MultiHead(SIZE, HEADS, positions)
    x, memory = random(BATCH, STEPS, SIZE), random(BATCH, STEPS, SIZE, seed=1)

    def at(first_query: int, first_key: int) -> torch.Tensor:
        queries, keys = torch.arange(STEPS) + first_query, torch.arange(STEPS) + first_key
        geometry = Geometry(queries, keys, None, self_distances(queries, keys))
        return attention(x, *attention.keys_values(memory, keys), geometry)[0]

    torch.testing.assert_close(at(0, 0), at(50, 50), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(at(0, 0), at(0, 1), atol=1e-3)


def test_cross_distances_count_from_both_ends() -> None:
    """Steps 1 and 2 over sources of 3 and 5 tokens, one head each way; what lies behind a source is not looked at."""
    distances = cross_distances(torch.tensor([1, 2]), torch.tensor([3, 5]), 5, heads=2)
    assert distances[0, 0, :, :3].tolist() == [[-1, 0, 1], [-2, -1, 0]]
    assert distances[0, 1, :, :3].tolist() == [[1, 0, -1], [0, -1, -2]]
    assert distances[1, 0].tolist() == [[-1, 0, 1, 2, 3], [-2, -1, 0, 1, 2]]
    assert distances[1, 1].tolist() == [[3, 2, 1, 0, -1], [2, 1, 0, -1, -2]]


@pytest.mark.parametrize("length", [3, 9, 40])
def test_reading_backwards_is_one_distance_from_the_end(length: int) -> None:
    """`BOS x1 .. xn EOS` to `xn .. x1 EOS`: step t reads position length - 2 - t, and EOS comes from BOS."""
    steps = torch.arange(length - 1)
    distances = cross_distances(steps, torch.tensor([length]), length, heads=2)
    assert distances[0, 1, steps, length - 2 - steps].unique().tolist() == [1]
