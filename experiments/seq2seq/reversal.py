"""Learning to reverse: the step for the training loop, measuring a network with and without teacher forcing."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import nn

from experiments.data.sequences import SequenceBatch, Sequences
from experiments.training.state import Metrics, StepResult
from models.seq2seq import PAD, Seq2Seq
from models.seq2seq.decoding import Decoded, beam, greedy

EVALUATION_BATCH = 500


def reversal_step(model: nn.Module, batch: SequenceBatch) -> StepResult:
    """Cross entropy over target tokens, and the number of tokens predicted rightly.

    Where teacher forcing is less than whole, each decoder input is, with that probability, the true token, else what
    the network itself says there after true tokens (parallel scheduled sampling: Duckworth et al. 2019,
    arXiv:1906.04331; Bengio et al. 2015 mix step by step).
    """
    pairs, inputs = batch.pairs, batch.pairs.inputs
    if batch.teacher_forcing < 1:
        with torch.no_grad():
            own = model(pairs.source, pairs.lengths, inputs).logits.argmax(dim=2)
        own = torch.cat([inputs[:, :1], own[:, :-1]], dim=1)
        true = torch.rand(inputs.shape, device=inputs.device) < batch.teacher_forcing
        inputs = torch.where(true | (inputs == PAD), inputs, own)
    logits = model(pairs.source, pairs.lengths, inputs).logits.float()
    target = pairs.target
    loss = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD, reduction="sum")
    correct = ((logits.detach().argmax(dim=2) == target) & (target != PAD)).sum()
    return StepResult(loss, {"accuracy": correct}, batch.tokens, batch.examples)


@dataclass(frozen=True)
class MeasuredReversal:
    """What a network does with a set of sequences.

    Attributes:
        metrics: `loss` and `accuracy` by token under teacher forcing; `token_accuracy` and `sequence_accuracy` (whole
            sequence with its end) when the network runs on its own; `alignment` where there is attention.
        predicted: int64 `(n, longest + 1)`, what it said on its own, PAD after EOS.
        exact: bool `(n,)`, which sequences were reversed without a mistake.
    """

    metrics: Metrics
    predicted: np.ndarray
    exact: np.ndarray


def free_running(network: Seq2Seq, pairs: Sequences, width: int = 1) -> Decoded:
    """Decode without teacher forcing; a few steps more than the longest target, so that a missing end is a mistake."""
    steps = pairs.target.shape[1] + 2
    if width == 1:
        return greedy(network, pairs.source, pairs.lengths, steps)
    return beam(network, pairs.source, pairs.lengths, steps, width)


@torch.inference_mode()
def measure(network: nn.Module, data: Sequences, accelerator: Accelerator, width: int = 1) -> MeasuredReversal:
    """Run a network in eval mode over all sequences; `width` is that of the beam."""
    network.eval()
    assert isinstance(network, Seq2Seq)
    count, longest = data.target.shape
    predicted = torch.full((count, longest), PAD, dtype=torch.int64)
    exact = torch.zeros(count, dtype=torch.bool)
    sums: dict[str, float] = {"loss": 0.0, "accuracy": 0.0, "token_accuracy": 0.0, "alignment": 0.0}
    tokens = symbols = 0
    for index in data.lengths.cpu().argsort(stable=True).split(EVALUATION_BATCH):
        pairs = data.part(index.to(data.source.device))
        with accelerator.autocast():
            output = network(pairs.source, pairs.lengths, pairs.inputs)
            said = free_running(network, pairs, width).tokens
        real = pairs.target != PAD
        logits = output.logits.float()
        flat = F.cross_entropy(logits.flatten(0, 1), pairs.target.flatten(), ignore_index=PAD, reduction="sum")
        sums["loss"] += flat.item()
        sums["accuracy"] += ((logits.argmax(dim=2) == pairs.target) & real).sum().item()
        said = F.pad(said, (0, max(0, longest + 1 - said.shape[1])), value=PAD)
        width_here = pairs.target.shape[1]
        right = said[:, :width_here] == pairs.target
        sums["token_accuracy"] += (right & real).sum().item()
        exact[index] = ((right | ~real).all(dim=1) & (said[:, width_here:] == PAD).all(dim=1)).cpu()
        predicted[index] = said[:, :longest].cpu()
        if output.attention is not None:
            mass, number = alignment(output.attention.float(), pairs.lengths)
            sums["alignment"] += mass
            symbols += number
        tokens += int(real.sum())
    metrics = {name: sums[name] / tokens for name in ("loss", "accuracy", "token_accuracy")}
    metrics["sequence_accuracy"] = exact.sum().item() / len(exact)
    if symbols:
        metrics["alignment"] = sums["alignment"] / symbols
    return MeasuredReversal(metrics, predicted.numpy(), exact.numpy())


def alignment(attention: torch.Tensor, lengths: torch.Tensor) -> tuple[float, int]:
    """Attention on the position that holds the token to be written, summed over symbols, and the number of symbols.

    Args: attention `(batch, steps, source)`; lengths `(batch,)` of the sources with BOS and EOS. Step t writes the
    symbol at source position n - t, where n is the number of symbols; the step of EOS has no true position.
    """
    steps = torch.arange(attention.shape[1], device=attention.device)
    position = (lengths - 2)[:, None] - steps
    real = position > 0
    mass = attention.gather(2, position.clamp_min(0)[:, :, None]).squeeze(2)
    return float(mass[real].sum()), int(real.sum())
