"""A trial of how fast a training's steps are: copies of its network, by several settings in turns."""

import copy
import itertools
import math
import resource
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from experiments.reports.text import shown
from experiments.training.family import Training
from experiments.training.micro_batch import by_items, items_in
from experiments.training.state import laid_out, make_optimizer
from tasks.runtime.memory import is_full

# A trial takes at most this many seconds after its first steps, and this fraction of the training's estimated time; a
# large network's on a CPU as long as this many whole steps: in a few images its weights count for too much.
MOST_SECONDS, FRACTION = 2.5, 0.1
WHOLE_STEPS, MOST_SECONDS_LARGE = 24, 30.0
# Rounds in which the settings take turns; the first only warms up.
ROUNDS = 4
# By how much another setting must be faster than the default, also while others disturb; how much slower is hopeless.
MARGIN, DISTURBED_MARGIN, HOPELESS = 1.1, 1.25, 1.4
SMALLEST_PART, GROWTHS = 4, 3
# Preemptions a second from which on others disturb, and those that the start of threads takes.
MOST_PREEMPTIONS, START_PREEMPTIONS = 50, 20
FULL = "is out of memory"


class Setting(NamedTuple):
    """What a trial settles, in the names of the configuration."""

    precision: str
    memory_format: str
    threads: int

    def __str__(self) -> str:
        return f"{self.precision} {self.memory_format} {self.threads} thread{'' if self.threads == 1 else 's'}"


@dataclass(frozen=True)
class ChosenSetting:
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
        return f"{self.note}: " + ", ".join(f"{name} {shown(speed)}/s" for name, speed in ordered)


class Trial:
    """Steps of copies of a training's network, by several settings in turns.

    Args:
        settings: those to try, the default first.

    Attributes:
        quiet: whether no other process disturbed.
        complete: whether all had their turns, or were dropped, in a way that later trainings may rely on.
        seconds: that all turns may take, once `size_up` has been called.
        failed: settings that are no longer tried, and why.
    """

    def __init__(self, training: Training, settings: list[Setting]) -> None:
        self.training, self.settings = training, settings
        self.times: dict[Setting, list[float]] = {setting: [] for setting in settings}
        self.failed: dict[Setting, str] = {}
        self.complete, self.quiet, self.seconds = False, True, 0.0
        self._batches = self._endless()
        self._whole = next(self._batches)
        self._networks: dict[str, tuple[Any, Any]] = {}
        # The size of batches that cannot be cut counts as one.
        self._items = items_in(self._whole) if training.divisible else 1
        self._part, self._slot = min(SMALLEST_PART, self._items), 0.0
        self._waiting = self._short = False  # whether several threads waited; whether a longer training gets more time
        self._began, self._preempted = time.perf_counter(), _preemptions()

    def size_up(self) -> None:
        """Choose settings to try, the items of a step and the time, by the first steps."""
        self.seconds = self._size_up()

    def run(self) -> None:
        """Try the settings, sized up before, until each had its rounds or the time is up."""
        finished = self._take_turns(time.perf_counter() + self.seconds)
        self.quiet = not self._disturbed()
        # What a short training found with parts of batches is not for a long one, nor what memory was free just now, or
        # which threads waited, for one of tomorrow.
        in_whole = not self._short or self._part == self._items
        passing = self._waiting or FULL in self.failed.values()
        self.complete = finished and self.quiet and in_whole and not passing

    def _disturbed(self) -> bool:
        allowed = START_PREEMPTIONS + MOST_PREEMPTIONS * (time.perf_counter() - self._began)
        return _preemptions() - self._preempted >= allowed

    def _take_turns(self, deadline: float) -> bool:
        for number in range(ROUNDS):
            for setting in [setting for setting in self.settings if setting not in self.failed]:
                if time.perf_counter() >= deadline:
                    return False
                self._turn(setting, warm_up=number == 0)
            self._drop_hopeless()
        return True

    def choice(self) -> ChosenSetting:
        """The default, unless another setting was faster by more than noise."""
        broken = {setting: why for setting, why in self.failed.items() if why != "hopeless"}
        speeds = {s: self._part / min(times) for s, times in self.times.items() if times and s not in broken}
        default = self.settings[0]
        best = max(speeds, key=lambda setting: speeds[setting], default=default)
        why = "".join(f"; {setting} {reason}" for setting, reason in broken.items())
        if default not in speeds or (len(speeds) < 2 and not broken):
            lacking = "memory" if default in broken else "time"
            return ChosenSetting(default, {}, f"the default, as there was no {lacking} for a trial{why}")
        named = {str(setting): speed for setting, speed in speeds.items()}
        why += "" if self.quiet else "; other programs disturbed the trial, so the next training repeats it"
        if speeds[best] > (MARGIN if self.quiet else DISTURBED_MARGIN) * speeds[default]:
            return ChosenSetting(best, named, f"the fastest of {len(speeds)}{why}")
        return ChosenSetting(default, named, f"the default, as no other is clearly faster{why}")

    def _size_up(self) -> float:
        """Seconds of all turns; those of one, its items and the settings are chosen from growing parts of a batch.

        They are 0 if memory is too small for the smallest part, and if several threads wait for each other so long that
        these steps tell enough.
        """
        default, steps = self.settings[0], self.training.config.epochs * len(self.training.batches)
        large = self.training.divisible and self.training.config.device == "cpu"
        most, budget, tried, granted = self._items, 0.0, self.settings, False
        for growth in range(GROWTHS):
            try:
                seconds = self._step(default)  # the first one of its shape has more to do
                again = seconds < MOST_SECONDS * (2 if self._disturbed() else 0.5)
                seconds = self._step(default) if again else seconds
                if not growth:  # a disturbed trial is repeated, and a first step says little of a whole one
                    large = large and again and not self._disturbed()
            except (RuntimeError, MemoryError) as error:
                if not is_full(error):
                    raise
                most = self._part = self._part // 2
                if not most:
                    self.failed[default] = FULL
                    return 0.0
                continue
            whole = seconds * self._items / self._part
            wanted = max(MOST_SECONDS, min(MOST_SECONDS_LARGE, WHOLE_STEPS * whole)) if large else MOST_SECONDS
            allowed = FRACTION * steps * whole
            granted = granted or wanted <= allowed / 2  # of few images it is a rough estimate
            budget = min(wanted if granted else MOST_SECONDS, allowed)
            self._short = budget < wanted
            alone = next((setting for setting in self.settings if setting.threads < default.threads), None)
            by_one = math.inf if alone is None else self._seconds_alone(alone, seconds)
            if by_one > HOPELESS * seconds:
                self.settings = [setting for setting in self.settings if setting.threads == default.threads]
            # Several threads wait for each other, in whatever precision; of larger parts perhaps not.
            self._waiting = seconds > HOPELESS * by_one
            tried = [one for one in self.settings if not self._waiting or one.threads == 1 or one == default]
            if 2 * len(tried) * seconds > budget:
                if alone is not None and not self._short and seconds > DISTURBED_MARGIN * by_one:
                    self.times.update({default: [seconds], alone: [by_one]})
                    return 0.0
                tried = self.settings = [setting for setting in self.settings if setting[1:] == default[1:]]
            self._slot = budget / (ROUNDS * len(tried))
            fitting = min(most, int(self._part * self._slot / seconds))
            if fitting < min(2 * self._part, most) or self._part == most:
                break
            self._part = fitting
        self.settings = tried
        return budget

    def _seconds_alone(self, alone: Setting, seconds: float) -> float:
        """Seconds of a step by one thread, where the default's takes `seconds`; infinite if that is too slow to try.

        A slow step alone proves nothing: beside other programs, several threads wait for each other. On a quiet
        machine one thread takes at most `threads` times as long.
        """
        by_threads, short = MOST_SECONDS / self.settings[0].threads, 0.1 * MOST_SECONDS
        if seconds > (2 * by_threads if self._disturbed() else max(by_threads, short)):
            return math.inf
        taken = [self._step(alone)]
        if seconds <= short:  # the first one of its shape has more to do
            taken.append(self._step(alone))
        return taken[-1]

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
            self.failed[setting] = FULL if is_full(error) else "does not run here"

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
        count = max(1, len(self.training.batches) - 1)
        while True:  # of the last epoch: images of earlier ones may be smaller
            yield from itertools.islice(self.training.batches.epoch(self.training.config.epochs), count)


def _preemptions() -> int:
    """How often the threads of this process were made to wait for others so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
