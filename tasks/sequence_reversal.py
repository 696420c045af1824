"""Task `sequence-reversal`: an encoder-decoder trained here reverses integers and shows where it looked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.base import Cancel, Task, TaskInputError, short, stop_if
from tasks.parameters import Parameters, option
from tasks.trained import load_network

if TYPE_CHECKING:
    import torch

    from models.seq2seq import Seq2Seq
    from models.seq2seq.decoding import Decoded

BATCH_SIZE = 128
MARKS = ("padding", "start", "end")  # the tokens that are no numbers, in the order of their codes
# The largest sizes that a folder may ask for: more than any training has, less than fills the memory.
LARGEST = {"vocab_size": 100_000, "max_length": 10_000, "longest": 10_000, "hidden_size": 4096, "layers": 24}


@dataclass(frozen=True)
class ReverserConfig:
    """All that is needed, besides weights, to use a trained network.

    Attributes:
        vocab_size: number of symbols, 0 to vocab_size - 1.
        max_length: symbols in the longest sequence of the training.
        longest: symbols in the longest sequence that is accepted.
        layers: of encoder and of decoder; None for the cell's default.
    """

    cell: str
    attention: str
    positions: str
    vocab_size: int
    max_length: int
    longest: int
    hidden_size: int
    layers: int | None

    def build(self) -> Seq2Seq:
        """The network, freshly initialized. Raises ValueError for sizes out of range or what does not fit together."""
        from models.seq2seq import SPECIALS, build

        for name, most in LARGEST.items():
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if not (whole and 1 <= value <= most) and (name, value) != ("layers", None):
                raise ValueError(f"{name} is {short(value)}; valid: a whole number from 1 to {most}")
        return build(
            self.cell,
            self.attention,
            self.positions,
            self.vocab_size + SPECIALS,
            self.hidden_size,
            max_length=self.longest + 2,
            layers=self.layers,
        )


def load_reverser(folder: Path) -> tuple[Seq2Seq, ReverserConfig]:
    """A trained network and its configuration. Raises ModelFolderError as `load_network`."""
    return load_network(folder, _build)


def _build(fields: dict[str, Any]) -> tuple[Seq2Seq, ReverserConfig]:
    config = ReverserConfig(**fields)
    return config.build(), config


class ReversalParameters(Parameters):
    """Of sequence reversal."""

    beam_width: int = option(1, "hypotheses kept while decoding; 1 = greedy", ge=1, le=16)
    alternatives: int = option(0, "number of candidates returned for each step, with their probabilities", ge=0, le=10)


class SequenceReversal(Task):
    """Integers in, reversed integers and the attention matrix out.

    Output: `reversed`; `attention`, one row a written integer with its attention weights on the integers of the source
    (what lies on the marks of start and end is left out), or None for a network without attention; `correct`, whether
    it is the true reverse; `beyond_training`, whether the sequence is longer than those of the training.
    """

    name = "sequence-reversal"
    inputs = {"sequence": True}
    requirements = ("torch",)
    parameters = ReversalParameters

    def load(self) -> None:
        from tasks.engines.devices import pick_device

        network, self.config = load_reverser(self.folder)
        self.torch_device = pick_device(self.device)
        self.network = network.to(self.torch_device)

    def open_row(self, row: dict[str, Any], cancel: Cancel) -> dict[str, Any]:  # noqa: ARG002
        return {"sequence": self.check(row["sequence"])}

    def answer(self, rows: list[dict[str, Any]], parameters: dict[str, Any], cancel: Cancel) -> list[dict[str, Any]]:
        sequences = [row["sequence"] for row in rows]
        results: list[dict[str, Any]] = []
        for start in range(0, len(sequences), BATCH_SIZE):
            stop_if(cancel)
            results += self._answer(sequences[start : start + BATCH_SIZE], **parameters)
        return results

    def check(self, sequence: Any) -> list[int]:
        """The sequence as a list of integers. Raises TaskInputError, naming the field and what is valid."""
        limit, symbols = self.config.longest, self.config.vocab_size
        valid = f"valid: 1 to {limit} whole numbers from 0 to {symbols - 1}"
        if hasattr(sequence, "tolist"):  # a NumPy array, as tables hold it
            sequence = sequence.tolist()
        if not isinstance(sequence, (list, tuple)):
            raise TaskInputError(f"sequence is not a list; {valid}")
        if not 1 <= len(sequence) <= limit:
            raise TaskInputError(f"sequence has {len(sequence)} numbers; {valid}")
        for place, value in enumerate(sequence, 1):
            whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
            if not whole or isinstance(value, bool) or not 0 <= value < symbols:
                raise TaskInputError(f"sequence has {str(value)[:40]!r} at place {place}; {valid}")
        return [int(value) for value in sequence]

    def _answer(self, sequences: list[list[int]], beam_width: int, alternatives: int) -> list[dict[str, Any]]:
        import torch

        from models.seq2seq import BOS, EOS, PAD, SPECIALS
        from models.seq2seq.decoding import beam, greedy

        lengths = torch.tensor([len(sequence) + 2 for sequence in sequences])
        source = torch.full((len(sequences), int(lengths.max())), PAD)
        for row, sequence in enumerate(sequences):
            source[row, : len(sequence) + 2] = torch.tensor([BOS, *(symbol + SPECIALS for symbol in sequence), EOS])
        source, lengths = source.to(self.torch_device), lengths.to(self.torch_device)
        steps = source.shape[1] - 1
        with torch.inference_mode():
            if beam_width == 1:
                decoded = greedy(self.network, source, lengths, steps)
            else:
                decoded = beam(self.network, source, lengths, steps, beam_width)
            results = [self._describe(sequence, decoded, row) for row, sequence in enumerate(sequences)]
            if alternatives:
                read = torch.cat([torch.full_like(decoded.tokens[:, :1], BOS), decoded.tokens[:, :-1]], dim=1)
                odds = self.network(source, lengths, read).logits.float().softmax(-1)
                best = odds.topk(min(alternatives, odds.size(-1)))
                for row, result in enumerate(results):
                    result["steps"] = _steps(decoded, row, best.values[row], best.indices[row], len(sequences[row]))
        return results

    def _describe(self, sequence: list[int], decoded: Decoded, row: int) -> dict[str, Any]:
        from models.seq2seq import SPECIALS

        # One that does not end is cut after one symbol too many, whatever else was in the batch.
        tokens = decoded.tokens[row, : len(sequence) + 1].tolist()
        steps = [step for step, token in enumerate(tokens) if token >= SPECIALS]
        said = [tokens[step] - SPECIALS for step in steps]
        attention = None
        if decoded.attention is not None:
            attention = decoded.attention[row, steps, 1 : len(sequence) + 1].float().cpu().tolist()
        return {
            "reversed": said,
            "attention": attention,
            "correct": said == sequence[::-1],
            "beyond_training": len(sequence) > self.config.max_length,
        }


def _steps(
    decoded: Decoded, row: int, probabilities: torch.Tensor, candidates: torch.Tensor, length: int
) -> list[dict[str, Any]]:
    """What a row was written by, token by token. `probabilities`, `candidates` (T, alternatives)."""
    looks = None if decoded.attention is None else decoded.attention[row, :, 1 : length + 1].float().cpu().tolist()
    tokens = decoded.tokens[row, : min(int(decoded.lengths[row]), length + 1)].tolist()
    return [
        {
            "token": _name(token),
            "alternatives": [
                {"token": _name(one), "probability": probability}
                for one, probability in zip(candidates[step].tolist(), probabilities[step].tolist(), strict=True)
            ],
            "attention": looks and looks[step],
        }
        for step, token in enumerate(tokens)
    ]


def _name(token: int) -> str:
    return MARKS[token] if token < len(MARKS) else str(token - len(MARKS))
