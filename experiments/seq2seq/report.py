"""What is reported at the end of a sequence-to-sequence training: test metrics, lengths, attention, the model."""

import json
from pathlib import Path

import numpy as np
from torch import nn

from experiments.config import Seq2SeqConfig
from experiments.reports import figures as plots
from experiments.reports.statistics import Interval
from experiments.seq2seq.figures import save_animation, save_lengths
from experiments.seq2seq.reversal import MeasuredReversal, measure
from experiments.seq2seq.setup import TASK, Seq2SeqTraining, decide, prepare
from experiments.training.family import Family, Result, SavedModel
from experiments.training.state import Metrics
from models.seq2seq import SPECIALS
from tasks.trained import save_network

REGISTERED_NAME = "seq2seq-reverse"
MISTAKES_SHOWN = 50
ATTENTION = "reports/attention.npz"
BY_LENGTH = "test_sequence_accuracy_len_{}"


def test(training: Seq2SeqTraining, network: nn.Module, best: int, folder: Path) -> Metrics:
    """Let the kept network reverse the test sequences and the probes on its own; write figures and reports."""
    config, data, accelerator = training.config, training.data, training.state.accelerator
    measured = measure(network, data.test, accelerator, config.beam_width)
    by_length = {
        length: measure(network, probe, accelerator, config.beam_width).metrics["sequence_accuracy"]
        for length, probe in data.probes.items()
    }
    _write_reports(folder / "reports", training, measured, by_length)
    figures, title, history = folder / "plots", training.title, training.state.history
    given = "true tokens given" if config.teacher_forcing == 1 else f"{config.teacher_forcing:.0%} true tokens given"
    labels = {"train": f"training, {given}", "val": "validation, true tokens given"}
    for metric in ("loss", "accuracy"):
        plots.save_curves(
            figures / f"{metric}_curve.png", history, metric, title, best, measured.metrics[metric], labels=labels
        )
    plots.save_validation(
        figures / "sequence_accuracy_curve.png",
        history,
        [name for name in ("token_accuracy", "sequence_accuracy", "alignment") if f"val_{name}" in history[0]],
        f"{title}: without teacher forcing",
        best,
    )
    lengths = {config.model: {length: Interval(value) for length, value in by_length.items()}}
    save_lengths(figures / "accuracy_by_length.png", lengths, config.max_length, title)
    pairs, attention = training.look(network)
    if attention is not None:
        score = measured.metrics["alignment"]
        np.savez_compressed(folder / ATTENTION, source=pairs.source.cpu(), attention=attention)
        training.draw_attention(
            network, figures / "attention_kept.png", f"{title}: epoch {best}, alignment {score:.3f}"
        )
        frames = sorted(training.snapshots.glob("attention_epoch_*.png")) if training.snapshots else []
        save_animation(figures / "attention.gif", [*frames, figures / "attention_kept.png"])
    return {
        **{f"test_{name}": value for name, value in measured.metrics.items()},
        **{BY_LENGTH.format(length): value for length, value in by_length.items()},
    }


def _write_reports(
    folder: Path, training: Seq2SeqTraining, measured: MeasuredReversal, by_length: dict[int, float]
) -> None:
    folder.mkdir(parents=True)
    data = training.data.test
    source, target = data.source.cpu().numpy(), data.target.cpu().numpy()
    np.savez_compressed(
        folder / "test_predictions.npz",
        source=source,
        target=target,
        predicted=measured.predicted,
        exact=measured.exact,
    )
    wrong = np.flatnonzero(~measured.exact)[:MISTAKES_SHOWN]
    mistakes = [
        {"sequence": _symbols(source[row]), "said": _symbols(measured.predicted[row])} for row in wrong.tolist()
    ]
    report = {
        **measured.metrics,
        "sequence_accuracy_by_length": by_length,
        "decoding": "greedy" if training.config.beam_width == 1 else f"beam of {training.config.beam_width}",
        "mistakes": int((~measured.exact).sum()),
        "first_mistakes": mistakes,
    }
    (folder / "reversal_report.json").write_text(json.dumps(report, indent=1))


def _symbols(tokens: np.ndarray) -> list[int]:
    return [token - SPECIALS for token in tokens.tolist() if token >= SPECIALS]


def save_model(training: Seq2SeqTraining, network: nn.Module, folder: Path) -> SavedModel:
    """Write the network as a model of the task `sequence-reversal`."""
    config, data = training.config, training.data
    save_network(folder, network, training.network_config)
    return SavedModel(
        task=TASK,
        name=training.title,
        registered_name=REGISTERED_NAME,
        input_example={"sequence": _symbols(data.test.source[0].cpu().numpy())},
        params={"model": config.model, "max_length": config.max_length, "seed": config.seed},
    )


def describe(training: Seq2SeqTraining, result: Result) -> str:
    """The run's description for its MLflow page."""
    config, data, metrics = training.config, training.data, result.metrics
    longer = (length for length in data.probes if length > config.max_length)
    beyond = ", ".join(f"{metrics[BY_LENGTH.format(length)]:.1%} at {length}" for length in longer)
    alignment = metrics.get("test_alignment")
    looks = "" if alignment is None else f"{alignment:.1%} of the attention lies on the symbol to be written. "
    return f"""**{result.name}**: **{metrics["test_sequence_accuracy"]:.2%}** of {len(data.test):,} unseen test \
sequences reversed without a mistake, running on its own; {metrics["test_token_accuracy"]:.2%} of their tokens.

{looks}Sequences longer than the {config.max_length} symbols in training: {beyond}.

Trained for {len(training.state.history)} of at most {config.epochs} epochs over {len(data.train):,} sequences; epoch \
{result.best_epoch} had the best validation result and was kept. Registry: {result.registry}.
"""


SEQ2SEQ: Family[Seq2SeqConfig, Seq2SeqTraining] = Family("seq2seq", decide, prepare, test, save_model, describe)
