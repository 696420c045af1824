"""The recurrent encoder of all attention variants: reads the source in both directions (Schuster and Paliwal 1997).

Shapes: b batch, S source positions, E size of the embedding, H hidden size, L layers.
"""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

RNNS: dict[str, type[nn.GRU] | type[nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}
Carry = tuple[torch.Tensor, ...]
"""State of a recurrent network with the batch first, each (b, L, H): (h,) of a GRU, (h, c) of an LSTM."""


def recurrent(
    cell: str, input_size: int, hidden_size: int, layers: int, dropout: float, bidirectional: bool = False
) -> nn.GRU | nn.LSTM:
    """A GRU or LSTM, batch first, initialized: Xavier input weights, orthogonal recurrent ones (Saxe et al. 2014).

    Each gate is initialized as a matrix of its own. Biases are 0, but the LSTM's forget gate gets 1, so that it starts
    by remembering (Jozefowicz, Zaremba and Sutskever 2015, section 2.2).
    """
    between = dropout if layers > 1 else 0.0  # torch drops between layers only, and warns where there is one
    rnn = RNNS[cell](input_size, hidden_size, layers, batch_first=True, dropout=between, bidirectional=bidirectional)
    for name, parameter in rnn.named_parameters():
        for gate in parameter.detach().split(hidden_size):
            if name.startswith("weight_ih"):
                nn.init.xavier_uniform_(gate)
            elif name.startswith("weight_hh"):
                nn.init.orthogonal_(gate)
            else:
                nn.init.zeros_(gate)
        if cell == "lstm" and name.startswith("bias_ih"):
            forget = slice(hidden_size, 2 * hidden_size)  # torch's order: input, forget, cell, output
            nn.init.ones_(parameter.detach()[forget])
    return rnn


def run(rnn: nn.GRU | nn.LSTM, inputs: torch.Tensor, carry: Carry) -> tuple[torch.Tensor, Carry]:
    """Inputs (b, T, .) from `carry` on: outputs (b, T, H) and the carry after."""
    states = tuple(state.transpose(0, 1).contiguous() for state in carry)
    if isinstance(rnn, nn.LSTM):
        outputs, (h, c) = rnn(inputs, (states[0], states[1]))
        states = (h, c)
    else:
        outputs, h = rnn(inputs, states[0])
        states = (h,)
    return outputs, tuple(state.transpose(0, 1) for state in states)


class RecurrentEncoder(nn.Module):
    """Embedded source to annotations, and the decoder's first state.

    The bridge takes the last states of both directions of a layer (the backward one stands on the first token) through
    a linear layer and tanh to the state of the decoder's layer; an LSTM's h and c have a bridge each.
    """

    def __init__(self, cell: str, input_size: int, hidden_size: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.rnn = recurrent(cell, input_size, hidden_size, layers, dropout, bidirectional=True)
        count = 2 if cell == "lstm" else 1
        self.bridges = nn.ModuleList(nn.Linear(2 * hidden_size, hidden_size) for _ in range(count))

    def forward(self, embedded: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, Carry]:
        """`embedded` (b, S, E) and `lengths` (b,) to annotations (b, S, 2H), 0 on padding, and the first carry.

        The sequences are packed: the backward direction must start at a row's own last token and not in its padding.
        torch wants the lengths on the CPU, so that on a GPU each call waits for them.
        """
        packed = pack_padded_sequence(embedded, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, final = self.rnn(packed)
        annotations, _ = pad_packed_sequence(outputs, batch_first=True, total_length=embedded.size(1))
        states = final if isinstance(final, tuple) else (final,)
        return annotations, tuple(
            torch.tanh(bridge(directions_last(state))) for bridge, state in zip(self.bridges, states, strict=True)
        )


def directions_last(state: torch.Tensor) -> torch.Tensor:
    """torch's state of two directions, (2 L, b, H) with the directions alternating, to (b, L, 2H)."""
    return state.unflatten(0, (-1, 2)).permute(2, 0, 1, 3).flatten(2)
