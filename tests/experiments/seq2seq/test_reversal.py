"""Step and measurement of the reversal: loss and accuracies against a plain count, alignment against a worked case."""

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator

from experiments.data.sequences import SequenceBatch, Sequences, make_sequences
from experiments.seq2seq.reversal import alignment, measure, reversal_step
from models.seq2seq import EOS, PAD, Output, Seq2Seq, State, build


@pytest.fixture
def pairs() -> Sequences:
    return make_sequences(5, 1, 4, sizes=(40, 1, 1), probe_size=1, seed=0).train


def network() -> Seq2Seq:
    torch.manual_seed(0)
    return build("gru", "dot", "none", 8, 16, max_length=24)


def test_the_step_sums_over_real_tokens_only(pairs: Sequences) -> None:
    model = network()
    result = reversal_step(model, SequenceBatch(pairs, 100, 40, 1.0))
    loss, correct = 0.0, 0
    for row in range(len(pairs)):
        one = pairs.part(torch.tensor([row]))
        logits = model(one.source, one.lengths, one.inputs).logits[0]
        loss += F.cross_entropy(logits, one.target[0], reduction="sum").item()
        correct += int((logits.argmax(dim=1) == one.target[0]).sum())
    assert result.loss.item() == pytest.approx(loss, rel=1e-4)
    assert int(result.sums["accuracy"]) == correct
    assert (result.total, result.examples) == (100, 40)


def test_without_teacher_forcing_the_decoder_reads_what_it_said_itself(pairs: Sequences) -> None:
    model, read = network(), []

    class Listening(torch.nn.Module):
        def forward(self, source, lengths, inputs):
            read.append(inputs)
            return model(source, lengths, inputs)

    reversal_step(Listening(), SequenceBatch(pairs, 100, 40, 0.0))
    first, second = read
    own = model(pairs.source, pairs.lengths, first).logits.argmax(dim=2)
    real = first != PAD
    assert torch.equal(second[:, 0], first[:, 0])
    assert torch.equal(second[:, 1:][real[:, 1:]], own[:, :-1][real[:, 1:]])
    assert (second[~real] == PAD).all()

    read.clear()
    torch.manual_seed(1)
    reversal_step(Listening(), SequenceBatch(pairs, 100, 40, 0.5))
    differ = (read[1] != read[0])[:, 1:][real[:, 1:]].float().mean().item()
    wrong = (own[:, :-1] != first[:, 1:])[real[:, 1:]].float().mean().item()
    assert differ == pytest.approx(wrong / 2, abs=0.15)


class Scripted(Seq2Seq):
    """Says at each step what a table of rows (by first symbol of the source) holds, whatever it reads."""

    def __init__(self, says: dict[int, list[int]]) -> None:
        super().__init__(8)
        self.says = says

    def start(self, source, lengths) -> State:  # noqa: ARG002
        return State((source[:, 1:2],), (torch.zeros(len(source), 1, dtype=torch.int64),))

    def decode(self, tokens, state):
        (first,), (step,) = state.memory, state.carry
        logits = torch.zeros(*tokens.shape, 8)
        for row, start in enumerate(step[:, 0].tolist()):
            script = self.says[int(first[row, 0])]
            for place in range(tokens.shape[1]):
                logits[row, place, script[min(start + place, len(script) - 1)]] = 5.0
        return logits, None, State(state.memory, (step + tokens.shape[1],))


def test_a_sequence_counts_only_when_all_of_it_and_its_end_are_right(accelerator: Accelerator) -> None:
    # sources: (3 4), (4 5), (5 3), (6 7 7)
    source = torch.tensor([[1, 3, 4, 2, 0], [1, 4, 5, 2, 0], [1, 5, 3, 2, 0], [1, 6, 7, 7, 2]])
    target = torch.tensor([[4, 3, 2, 0], [5, 4, 2, 0], [3, 5, 2, 0], [7, 7, 6, 2]])
    data = Sequences(source, torch.tensor([4, 4, 4, 5]), target)
    says = {
        3: [4, 3, EOS],  # right
        4: [5, 4, 6, EOS],  # goes on after the end
        5: [3, 3, EOS],  # one symbol wrong
        6: [7, 7, 6, 6, 6, 6],  # never ends
    }
    found = measure(Scripted(says), data, accelerator)
    assert found.exact.tolist() == [True, False, False, False]
    assert found.metrics["sequence_accuracy"] == 0.25
    assert found.metrics["token_accuracy"] == pytest.approx((3 + 2 + 2 + 3) / 13)
    assert found.predicted[0].tolist() == [4, 3, EOS, PAD]
    assert "alignment" not in found.metrics


def test_alignment_is_the_attention_on_the_symbol_to_be_written() -> None:
    # Two symbols: step 0 writes position 2, step 1 position 1, step 2 (the end) counts for nothing.
    attention = torch.tensor([[[0.1, 0.2, 0.6, 0.1], [0.1, 0.5, 0.2, 0.2], [1.0, 0.0, 0.0, 0.0]]])
    assert alignment(attention, torch.tensor([4])) == (pytest.approx(1.1), 2)
    mass, count = alignment(attention.expand(2, -1, -1), torch.tensor([4, 3]))
    assert (mass, count) == (pytest.approx(1.1 + 0.2), 3)


def test_a_perfect_attention_scores_one(accelerator: Accelerator, pairs: Sequences) -> None:
    class Diagonal(Seq2Seq):
        def start(self, source, lengths):
            return State((source, lengths), (torch.zeros(len(source), 1, dtype=torch.int64),))

        def decode(self, tokens, state):
            (source, lengths), (step,) = state.memory, state.carry
            place = (lengths[:, None] - 2 - step - torch.arange(tokens.shape[1])).clamp_min(0)
            logits = F.one_hot(torch.where(place > 0, source.gather(1, place), EOS), 8).float() * 9
            return logits, F.one_hot(place, source.shape[1]).float(), State(state.memory, (step + tokens.shape[1],))

    found = measure(Diagonal(8), pairs, accelerator)
    assert found.metrics["alignment"] == found.metrics["sequence_accuracy"] == found.metrics["accuracy"] == 1.0
    assert isinstance(Diagonal(8)(pairs.source, pairs.lengths, pairs.inputs), Output)
