"""Precision, memory format and threads of a training: settled by trying a few of its real steps on this machine.

What is fastest depends on network, batch and processor, and the flags of a CPU do not tell. A trial uses copies of the
network and leaves PyTorch's random numbers alone, so that the training is the same whether there was one or not.
"""

import copy
import itertools
import math
import os
import resource
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from experiments.config import CnnConfig, Seq2SeqConfig
from experiments.training import devices
from experiments.training.family import Config, Family, Training
from experiments.training.micro_batch import by_items, items_in
from experiments.training.state import laid_out, make_optimizer
from experiments.training.trial_cache import read_entry, write_entry
from tasks.runtime.memory import is_full

# A trial takes at most this many seconds after its first steps, and this fraction of the training's estimated time.
MOST_SECONDS, FRACTION = 2.5, 0.1
# Rounds in which the settings take turns; the first only warms up.
ROUNDS = 4
# By how much another setting must be faster than the default, also while others disturb; how much slower is hopeless.
MARGIN, DISTURBED_MARGIN, HOPELESS = 1.1, 1.5, 1.4
SMALLEST_PART, GROWTHS = 4, 3
# Preemptions a second from which on others disturb.
MOST_PREEMPTIONS = 50
# What the speed of a step does not depend on.
_IRRELEVANT = {
    *("seed", "split_seed", "epochs", "learning_rate", "weight_decay", "schedule", "warmup", "resume", "register"),
    *("data_dir", "train_size", "val_size", "test_size", "probe_size", "stop_at", "beam_width", "label_smoothing"),
}


class Setting(NamedTuple):
    """What a trial settles, in the names of the configuration."""

    precision: str
    memory_format: str
    threads: int

    def __str__(self) -> str:
        return f"{self.precision} {self.memory_format} {self.threads} thread{'' if self.threads == 1 else 's'}"


@dataclass(frozen=True)
class Choice:
    """A setting, why it was taken, and examples per second of those that were tried (none without a trial; of starters
    batches per second)."""

    setting: Setting
    speeds: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    def __str__(self) -> str:
        """Such as `the fastest of 4: bf16 channels_last 2 threads 837/s, fp32 channels_last 2 threads 671/s`."""
        if not self.speeds:
            return self.note
        ordered = sorted(self.speeds.items(), key=lambda item: -item[1])
        return f"{self.note}: " + ", ".join(f"{name} {speed:,.4g}/s" for name, speed in ordered)


# Those of this process: one choice holds for all seeds of a comparison, also where the trial was cut short.
_chosen: dict[str, Choice] = {}


def settle(family: Family[Config, Any], config: Config) -> tuple[Config, Choice]:
    """What a decided configuration leaves open, settled; its threads are in force from now on.

    `precision=auto`, `memory_format=auto` and `threads=0` are open; with PROJECT_DL_SPEED_TRIAL=0 in the environment
    they become fp32, channels_last and all threads. Raises what `family.prepare` raises.
    """
    options = settings(config)
    choice = Choice(options[0])
    if len(options) > 1 and os.environ.get("PROJECT_DL_SPEED_TRIAL", "1") != "0":
        facts = _facts(config, options)
        key = repr(facts)
        choice = _chosen.get(key) or _remembered(facts, options) or _tried(family, config, options, facts)
        _chosen[key] = choice
    torch.set_num_threads(choice.setting.threads)
    return config.replace(**choice.setting._asdict()), choice


def settings(config: Any) -> list[Setting]:
    """What may be settled for a configuration, the default first; only one if there is nothing to try."""
    device, threads = config.device, config.threads or devices.ALL_THREADS
    precisions = [config.precision] if config.precision != "auto" else devices.precisions(device)
    forms = [config.memory_format] if config.memory_format != "auto" else ["channels_last", "contiguous"]
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # all processes need the same one, and each has its own times
        several = "bf16" if device == "cuda" and "bf16" in precisions else precisions[0]
        return [Setting(several, forms[0], threads)]
    if device == "mps" or not isinstance(config, CnnConfig):  # what is no image has no format
        forms = forms[:1]
    found = [Setting(*pair, threads) for pair in itertools.product(precisions, forms)]
    if device == "cpu" and not config.threads and threads > 1:
        found += [Setting(precision, forms[0], 1) for precision in precisions]
    return found


def _facts(config: Any, options: list[Setting]) -> dict[str, Any]:
    """What a choice depends on."""
    return {
        "config": config.model_dump(exclude=_IRRELEVANT),
        "settings": [str(option) for option in options],
        "device": devices.describe(config.device)["device_name"],
        "threads": devices.ALL_THREADS,
        "torch": torch.__version__,
    }


def _remembered(facts: Mapping[str, Any], options: list[Setting]) -> Choice | None:
    """The choice of an earlier process for the same facts; None without one, and if what is there is no such choice."""
    entry = read_entry(facts)
    if entry is None:
        return None
    by_name = {str(option): option for option in options}
    return Choice(by_name[entry.setting], entry.speeds, entry.note) if entry.setting in by_name else None


def _tried(family: Family[Config, Any], config: Config, options: list[Setting], facts: Mapping[str, Any]) -> Choice:
    """Try the settings; what was tried to the end is remembered for later processes."""
    torch.set_num_threads(options[0].threads)
    with torch.random.fork_rng([torch.cuda.current_device()] if config.device == "cuda" else []):
        plain = config.replace(memory_format="channels_last")
        trial = Trial(family.prepare(plain, devices.make_accelerator(config.device, "fp32")), options)
        trial.run()
    choice = trial.choice()
    if trial.complete:
        write_entry(facts, str(choice.setting), choice.speeds, choice.note)
    return choice


class Trial:
    """Steps of copies of a training's network, by several settings in turns.

    Args:
        settings: those to try, the default first.

    Attributes:
        quiet: whether no other process disturbed.
        complete: whether all had their turns, or were dropped, in a way that later trainings may rely on.
        failed: settings that are no longer tried, and why.
    """

    def __init__(self, training: Training, settings: list[Setting]) -> None:
        self.training, self.settings = training, settings
        self.times: dict[Setting, list[float]] = {setting: [] for setting in settings}
        self.failed: dict[Setting, str] = {}
        self.complete, self.quiet = False, True
        self._batches = self._endless()
        self._whole = next(self._batches)
        self._networks: dict[str, tuple[Any, Any]] = {}
        # The batches of starters refer to each other's items, and cannot be cut: their size counts as one.
        cuttable = isinstance(training.config, CnnConfig | Seq2SeqConfig)
        self._items = items_in(self._whole) if cuttable else 1
        self._part, self._slot = min(SMALLEST_PART, self._items), 0.0

    def run(self) -> None:
        """Try the settings until each had its rounds or the time is up."""
        began, before = time.perf_counter(), _preemptions()
        budget = self._size_up()
        finished = self._take_turns(began + budget)
        self.quiet = _preemptions() - before < MOST_PREEMPTIONS * (time.perf_counter() - began)
        # What a short training found with parts of batches is not for a long one.
        self.complete = finished and self.quiet and (budget == MOST_SECONDS or self._part == self._items)

    def _take_turns(self, deadline: float) -> bool:
        for number in range(ROUNDS):
            for setting in [setting for setting in self.settings if setting not in self.failed]:
                if time.perf_counter() >= deadline:
                    return False
                self._turn(setting, warm_up=number == 0)
            self._drop_hopeless()
        return True

    def choice(self) -> Choice:
        """The default, unless another setting was faster by more than noise."""
        broken = {setting: why for setting, why in self.failed.items() if why != "hopeless"}
        speeds = {s: self._part / min(times) for s, times in self.times.items() if times and s not in broken}
        default = self.settings[0]
        best = max(speeds, key=lambda setting: speeds[setting], default=default)
        why = "".join(f"; {setting} {reason}" for setting, reason in broken.items())
        if default not in speeds or (len(speeds) < 2 and not broken):
            return Choice(default, {}, f"the default, as there was no time for a trial{why}")
        named = {str(setting): speed for setting, speed in speeds.items()}
        why += "" if self.quiet else "; others were at work, so that the next training tries again"
        if speeds[best] > (MARGIN if self.quiet else DISTURBED_MARGIN) * speeds[default]:
            return Choice(best, named, f"the fastest of {len(speeds)}{why}")
        return Choice(default, named, f"the default, as no other is clearly faster{why}")

    def _size_up(self) -> float:
        """Choose settings, items of a step and seconds of a turn, from growing parts of a batch; returns all seconds.

        They are 0 if memory is too small for the smallest part.
        """
        default, steps = self.settings[0], self.training.config.epochs * len(self.training.batches)
        most, budget = self._items, 0.0
        for _ in range(GROWTHS):
            try:
                seconds = self._step(default)  # the first one of its shape has more to do
                seconds = self._step(default) if seconds < MOST_SECONDS / 2 else seconds
            except (RuntimeError, MemoryError) as error:
                if not is_full(error):
                    raise
                most = self._part = self._part // 2
                if not most:
                    return 0.0
                continue
            whole = seconds * self._items / self._part
            budget = min(MOST_SECONDS, FRACTION * steps * whole)
            if self._too_large_for_one_thread(seconds):
                self.settings = [setting for setting in self.settings if setting.threads == default.threads]
            if 2 * len(self.settings) * seconds > budget:
                self.settings = [setting for setting in self.settings if setting[1:] == default[1:]]
            self._slot = budget / (ROUNDS * len(self.settings))
            fitting = min(most, int(self._part * self._slot / seconds))
            if fitting < min(2 * self._part, most) or self._part == most:
                break
            self._part = fitting
        return budget

    def _too_large_for_one_thread(self, seconds: float) -> bool:
        """Whether one thread takes far longer than the seconds of the default's step, or this is too slow to try.

        The step's time by itself does not tell: beside other programs several threads wait for each other.
        """
        alone = next((setting for setting in self.settings if setting.threads < self.settings[0].threads), None)
        if alone is None or seconds > MOST_SECONDS / 10:
            return True
        self._step(alone)
        return self._step(alone) > HOPELESS * seconds

    def _turn(self, setting: Setting, warm_up: bool) -> None:
        try:
            if warm_up:
                self._check(setting)
            else:
                taken = [self._step(setting)]
                while sum(taken) + taken[-1] < self._slot:
                    taken.append(self._step(setting))
                self.times[setting].append(statistics.mean(taken))
        except (RuntimeError, MemoryError) as error:
            if setting == self.settings[0] and not is_full(error):
                raise
            self.failed[setting] = "is out of memory" if is_full(error) else "does not run here"

    def _check(self, setting: Setting) -> None:
        """Look at loss and gradients of one step: some devices give NaN in bf16."""
        network, optimizer, loss = self._backward(setting)
        numbers = [loss, *(p.grad.sum() for p in network.parameters() if p.grad is not None)]
        optimizer.zero_grad()
        if setting.precision == "bf16" and not torch.stack([number.float() for number in numbers]).isfinite().all():
            self.failed[setting] = "gives NaN here"

    def _drop_hopeless(self) -> None:
        best = min((min(times) for times in self.times.values() if times), default=math.inf)
        for setting, times in self.times.items():
            if times and setting != self.settings[0] and min(times) > HOPELESS * best:
                self.failed.setdefault(setting, "hopeless")

    def _step(self, setting: Setting) -> float:
        """Seconds of one step, with the making of its batch where that is a whole one."""
        started = time.perf_counter()
        _, optimizer, _ = self._backward(setting)
        optimizer.step()
        optimizer.zero_grad()
        if self.training.config.device != "cpu":
            torch.accelerator.synchronize()
        return time.perf_counter() - started

    def _backward(self, setting: Setting) -> tuple[Any, torch.optim.Optimizer, torch.Tensor]:
        """A batch forward and backward; returns network, optimizer and loss."""
        torch.set_num_threads(setting.threads)
        network, optimizer = self._network(setting.memory_format)
        kind = torch.float16 if setting.precision == "fp16" else torch.bfloat16
        batch = next(self._batches) if self._part == self._items else by_items(self._whole, 0, self._part)
        with torch.autocast(self.training.config.device, kind, enabled=setting.precision != "fp32"):
            result = self.training.step(network, batch)
        (result.loss / result.total).backward()
        return network, optimizer, result.loss.detach()

    def _network(self, memory_format: str) -> tuple[Any, torch.optim.Optimizer]:
        """A copy of the network in a memory format, and an optimizer whose steps change nothing but take their time."""
        if memory_format not in self._networks:
            network = laid_out(copy.deepcopy(self.training.state.network), memory_format).train()
            config = self.training.config
            optimizer = make_optimizer(config.optimizer, network, 0.0, config.weight_decay)
            self._networks[memory_format] = network, optimizer
        return self._networks[memory_format]

    def _endless(self) -> Iterator[Any]:
        """Batches of one size; the last one of an epoch may be smaller."""
        for epoch in itertools.count(1):
            count = max(1, len(self.training.batches) - 1)
            yield from itertools.islice(self.training.batches.epoch(epoch), count)


def _preemptions() -> int:
    """How often the threads of this process were made to wait for others so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
