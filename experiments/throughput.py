"""Images per second of training steps, measured side by side; `benchmark` is the command line."""

import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch

import models
from experiments import devices, plots
from experiments.augmentation import Augmentation, Normalise, TrainingBatches
from experiments.classification import classification_step
from experiments.config import BenchmarkConfig, ConfigError
from experiments.data import ImageData, load_images
from experiments.recipes import AUGMENTATION
from experiments.reference_loop import PictureDataset, reference_steps
from experiments.state import make_state
from experiments.tracking import git_commit, tracked_run

WARM_UP_STEPS = 3


@dataclass
class Setting:
    """One way to train at one batch size, and the speeds that were measured, in images per second."""

    loop: str
    precision: str
    memory_format: str
    batch_size: int
    steps: Iterator[int] = field(repr=False)
    speeds: list[float] = field(default_factory=list)

    @property
    def label(self) -> str:
        return f"{self.loop}, {self.precision}, {self.memory_format}"

    @property
    def median(self) -> float:
        return statistics.median(self.speeds)


def measure(config: BenchmarkConfig) -> list[Setting]:
    """Measure every setting in turns, print the table, log it. Raises UserError for what cannot be measured."""
    sizes = _batch_sizes(config.batch_sizes)
    device = devices.resolve_device(config.device)
    if config.threads:
        torch.set_num_threads(config.threads)
    data = load_images(config.dataset, config.data_dir, device=device)
    if max(sizes) > len(data.train):
        raise ConfigError(f"batch_sizes has {max(sizes)}; valid: at most {len(data.train)}, the training images")
    settings = [setting for size in sizes for setting in _settings(config, data, device, size)]
    with tracked_run("benchmark") as tracker:
        name = f"throughput of {config.model} on {config.dataset}, {device}"
        tags = {
            "model": config.model,
            "dataset": config.dataset,
            "git_commit": git_commit(),
            **devices.describe(device),
        }
        tracker.start(
            name, f"**{name}**: images per second of training, settings measured in turns.", vars(config), tags
        )
        for _ in range(config.repeats):
            for setting in settings:
                setting.speeds.append(_speed(setting.steps, config.seconds, device))
        best = best_by_way(settings)
        lines = table(best, config)
        print("\n".join(lines))
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            (folder / "throughput.csv").write_text(_csv(settings))
            (folder / "throughput.txt").write_text("\n".join(lines) + "\n")
            medians = {setting.label: setting.median for setting in best}
            plots.save_bars(folder / "throughput.png", medians, "images per second", name)
            tracker.log_files(folder)
        speeds = {f"images_per_second/{way(setting).replace(', ', '_')}": setting.median for setting in best}
        tracker.log_final(speeds, step=0)
    return best


def _batch_sizes(text: str) -> list[int]:
    try:
        sizes = [int(size) for size in text.split(",")]
    except ValueError:
        sizes = []
    if not sizes or min(sizes) < 1:
        raise ConfigError(f"batch_sizes is {text!r}; valid: whole numbers above 0, separated by commas")
    return sizes


def _settings(config: BenchmarkConfig, data: ImageData, device: str, size: int) -> list[Setting]:
    augmentation = Augmentation(**AUGMENTATION[config.dataset])
    pictures = PictureDataset(data, augmentation)
    settings = [
        Setting("plain", "fp32", f"contiguous, {workers} workers", size,
                reference_steps(_network(config, data), pictures, size, workers, device))
        for workers in (0, 2)
    ]  # fmt: skip
    precisions = ["fp32", *(["bf16"] if devices.resolve_precision("auto", device) == "bf16" else [])]
    for precision, channels_last in itertools.product(precisions, (False, True)):
        steps = _our_steps(config, data, augmentation, device, precision, channels_last, size)
        settings.append(Setting("ours", precision, "channels_last" if channels_last else "contiguous", size, steps))
    return settings


def _network(config: BenchmarkConfig, data: ImageData) -> torch.nn.Module:
    torch.manual_seed(0)
    return models.build(config.model, len(data.classes), data.channels)


def _our_steps(
    config: BenchmarkConfig,
    data: ImageData,
    augmentation: Augmentation,
    device: str,
    precision: str,
    channels_last: bool,
    size: int,
) -> Iterator[int]:
    """The work of `engine.fit` for one batch after another, for ever; yields the images of each step."""
    accelerator = devices.make_accelerator(device, precision)
    state = make_state(
        accelerator, _network(config, data), optimizer="sgd", learning_rate=0.01, weight_decay=5e-4,
        schedule="constant", warmup=0.0, ema_decay=0.0, total_steps=1,
    )  # fmt: skip
    if not channels_last:
        state.network.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    normalise = Normalise(data.mean, data.std, device)
    batches = TrainingBatches(data.train, normalise, augmentation, size, seed=0)
    step = classification_step()
    state.model.train()
    for epoch in itertools.count(1):
        for batch in batches.epoch(epoch):
            if not channels_last:
                batch = batch._replace(images=batch.images.contiguous())
            with accelerator.autocast():
                result = step(state.model, batch)
            accelerator.backward(result.loss / result.total)
            state.optimizer.step()
            state.optimizer.zero_grad()
            state.scheduler.step()
            yield result.total


def _speed(steps: Iterator[int], seconds: float, device: str) -> float:
    """Images per second over at least `seconds`, after a few steps to warm up."""
    for _ in range(WARM_UP_STEPS):
        next(steps)
    _wait(device)
    started, images = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        images += next(steps)
    _wait(device)
    return images / (time.perf_counter() - started)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def way(setting: Setting) -> str:
    """Loop, precision and memory format; the batch size is each way's own choice."""
    return f"{setting.loop}, {setting.precision}, {setting.memory_format}"


def best_by_way(settings: list[Setting]) -> list[Setting]:
    """Of each way to train the batch size with the highest median."""
    ways: dict[str, list[Setting]] = {}
    for setting in settings:
        ways.setdefault(way(setting), []).append(setting)
    return [max(group, key=lambda setting: setting.median) for group in ways.values()]


def table(best: list[Setting], config: BenchmarkConfig) -> list[str]:
    """The result for a terminal: medians, the spread, and the ratios to the plain loop.

    Without workers the plain loop has the same threads as ours; its worker processes come on top of them.
    """
    same_threads = next(setting.median for setting in best if setting.loop == "plain" and "0 workers" in setting.label)
    plain = max(setting.median for setting in best if setting.loop == "plain")
    lines = [f"{'':44}{'batch':>6}{'images/s':>11}{'from':>9}{'to':>9}{'same threads':>14}{'best plain':>12}"]
    for setting in best:
        low, high = min(setting.speeds), max(setting.speeds)
        lines.append(f"{setting.label:44}{setting.batch_size:6}{setting.median:11,.0f}{low:9,.0f}{high:9,.0f}"
                     f"{setting.median / same_threads:14.2f}{setting.median / plain:12.2f}")  # fmt: skip
    how = f"median of {config.repeats} x {config.seconds:g} s each, in turns, {torch.get_num_threads()} threads"
    lines.append(f"{how}; ratios: to the plain loop without workers, and to it at its best")
    return lines


def _csv(settings: list[Setting]) -> str:
    lines = ["loop,precision,memory_format,batch_size,images_per_second,measurements"]
    for s in settings:
        values = " ".join(f"{speed:.1f}" for speed in s.speeds)
        lines.append(f'{s.loop},{s.precision},"{s.memory_format}",{s.batch_size},{s.median:.1f},{values}')
    return "\n".join(lines) + "\n"
