"""Free-running decoding: the network reads its own output. Greedy and beam search, a batch at a time."""

from typing import NamedTuple

import torch

from models.seq2seq.base import BOS, EOS, PAD, Seq2Seq
from models.seq2seq.beams import Beams


class Decoded(NamedTuple):
    """What a network said, b rows of up to T tokens.

    `tokens` int64 (b, T): without BOS, up to and with EOS, then PAD. `lengths` int64 (b,): the number of tokens up to
    and with EOS; a row without EOS has the maximum. `log_probability` (b,): the sum over those
    tokens. `attention` float32 (b, T, S), 0 behind EOS; None where the network has none.
    """

    tokens: torch.Tensor
    lengths: torch.Tensor
    log_probability: torch.Tensor
    attention: torch.Tensor | None


@torch.inference_mode()
def greedy(network: Seq2Seq, source: torch.Tensor, lengths: torch.Tensor, max_steps: int) -> Decoded:
    """The likeliest token at each step, until every row has said EOS or `max_steps` tokens.

    Args: source int64 (b, S), lengths int64 (b,), as `Seq2Seq.start`. The network stays in its mode: call `eval` first.

    Rows that are done leave the batch as soon as they are half of it: with lengths from 1 to 100 most work would
    otherwise be spent on tokens that are discarded.
    """
    check_steps(max_steps)
    batch = len(source)
    tokens = source.new_full((batch, max_steps), PAD)
    total = torch.zeros(batch, device=source.device)
    looks: list[tuple[torch.Tensor, torch.Tensor]] = []
    rows = torch.arange(batch, device=source.device)
    current, state = source.new_full((batch,), BOS), network.start(source, lengths)
    done = torch.zeros(batch, dtype=torch.bool, device=source.device)
    for step in range(max_steps):
        logits, attention, state = network.step(current, state)
        best, current = logits.float().log_softmax(-1).max(-1)
        current = current.masked_fill(done, PAD)
        tokens[rows, step] = current
        total[rows] += best.masked_fill(done, 0.0)
        if attention is not None:
            looks.append((rows, attention.masked_fill(done.unsqueeze(1), 0.0)))
        done = done | (current == EOS)
        finished = int(done.sum())
        if finished == len(rows):
            break
        if 2 * finished >= len(rows):
            left = (~done).nonzero().squeeze(1)
            rows, current, done, state = rows[left], current[left], done[left], state.select(left)
    said = written(tokens)
    tokens = tokens[:, : int(said.max())]
    return Decoded(tokens, said, total, spread(looks, batch, source.size(1)) if looks else None)


def spread(looks: list[tuple[torch.Tensor, torch.Tensor]], batch: int, size: int) -> torch.Tensor:
    """Attention (b, T, S) from what each step saw: the rows (n,) still there and their weights (n, S)."""
    attention = looks[0][1].new_zeros(batch, len(looks), size)
    for step, (rows, weights) in enumerate(looks):
        attention[rows, step] = weights
    return attention


@torch.inference_mode()
def beam(
    network: Seq2Seq,
    source: torch.Tensor,
    lengths: torch.Tensor,
    max_steps: int,
    width: int,
    length_penalty: float = 0.0,
) -> Decoded:
    """The best sequence that a search with `width` hypotheses a row finds; arguments and result as for `greedy`.

    Sequences compare by log probability over ((5 + n) / 6)^length_penalty, n being the number of tokens: 0 favors
    short ones, 1 is close to a mean per token. Width 1 is greedy search. Only a row where nothing has ended by
    `max_steps` returns a sequence without EOS. `Beams` says when a row is done.
    """
    check_steps(max_steps)
    if width < 1:
        raise ValueError(f"width is {width}; valid: 1 or more")
    if length_penalty < 0:
        raise ValueError(f"length_penalty is {length_penalty}; valid: 0 or more")
    beams = Beams(len(source), width, max_steps, length_penalty, source.device)
    state = network.start(source, lengths).select(beams.rows.repeat_interleave(width))
    for _ in range(max_steps):
        logits, _, state = network.step(beams.last(), state)
        state = state.reorder(beams.extend(logits.float().log_softmax(-1)))
        places = beams.drop_done()
        if places is not None:
            state = state.select(places)
        if not len(beams.rows):
            break
    return reread(network, source, lengths, *beams.close())


def reread(
    network: Seq2Seq, source: torch.Tensor, lengths: torch.Tensor, tokens: torch.Tensor, total: torch.Tensor
) -> Decoded:
    """The record of `tokens` (b, max_steps). One teacher-forced pass gives the attention of the best ones alone."""
    said = written(tokens)
    tokens = tokens[:, : int(said.max())]
    inputs = torch.cat([tokens.new_full((len(tokens), 1), BOS), tokens[:, :-1]], dim=1)
    attention = network(source, lengths, inputs).attention
    if attention is not None:
        silent = torch.arange(tokens.size(1), device=tokens.device) >= said.unsqueeze(1)
        attention = attention.masked_fill(silent.unsqueeze(2), 0.0)
    return Decoded(tokens, said, total, attention)


def written(tokens: torch.Tensor) -> torch.Tensor:
    """Number of tokens up to and with the first EOS of each row, (b,) from (b, T); T where there is none."""
    ends = tokens == EOS
    return torch.where(ends.any(1), ends.int().argmax(1) + 1, tokens.size(1))


def check_steps(max_steps: int) -> None:
    """ValueError unless a decoder may say something."""
    if max_steps < 1:
        raise ValueError(f"max_steps is {max_steps}; valid: 1 or more")
