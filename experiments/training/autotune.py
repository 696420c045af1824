"""Precision, memory format and threads of a training: settled by a trial of its real step, or remembered from one.

What is fastest depends on network, batch and processor, and the flags of a CPU do not tell. A trial uses copies of the
network and leaves PyTorch's random numbers alone, so that the training is the same whether there was one or not.
"""

import itertools
import os
from collections.abc import Mapping
from typing import Any

import torch

from experiments.training import devices
from experiments.training.family import Config, Family
from experiments.training.speed_trial import ChosenSetting, Setting, Trial
from experiments.training.trial_cache import read_entry, write_entry

# Of how a trial measures: what an earlier one found is not remembered any longer.
VERSION = 2
# What the speed of a step does not depend on.
_IRRELEVANT = {
    *("seed", "split_seed", "epochs", "learning_rate", "weight_decay", "schedule", "warmup", "resume", "register"),
    *("data_dir", "train_size", "val_size", "test_size", "probe_size", "stop_at", "beam_width", "label_smoothing"),
    *("weights", "revision", "freeze_epochs", "trunk_learning_rate", "small_size", "small_epochs"),
}
SILENT_SECONDS = 5  # of a trial; a longer one is announced
# Those of this process: one choice holds for all seeds of a comparison, also where the trial was cut short.
_chosen: dict[str, ChosenSetting] = {}


def settle(family: Family[Config, Any], config: Config) -> tuple[Config, ChosenSetting]:
    """What a decided configuration leaves open, settled; its threads are in force from now on.

    `precision=auto`, `memory_format=auto` and `threads=0` are open; with PROJECT_DL_SPEED_TRIAL=0 in the environment
    they become fp32, channels_last and all threads. Raises what `family.prepare` raises.
    """
    options = settings(config)
    choice = ChosenSetting(options[0])
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
    if device == "mps" or not config.of_images:  # what is no image has no format
        forms = forms[:1]
    found = [Setting(*pair, threads) for pair in itertools.product(precisions, forms)]
    if device == "cpu" and not config.threads and threads > 1:
        found += [Setting(precision, forms[0], 1) for precision in precisions]
    return found


def _facts(config: Any, options: list[Setting]) -> dict[str, Any]:
    """What a choice depends on."""
    return {
        "trial": VERSION,
        "config": config.model_dump(exclude=_IRRELEVANT),
        "settings": [str(option) for option in options],
        "device": devices.describe(config.device)["device_name"],
        "cpu": devices.cpu_features(),
        "threads": devices.ALL_THREADS,
        "torch": torch.__version__,
    }


def _remembered(facts: Mapping[str, Any], options: list[Setting]) -> ChosenSetting | None:
    """The choice of an earlier process for the same facts; None without one, and if what is there is no such choice."""
    entry = read_entry(facts)
    if entry is None:
        return None
    by_name = {str(option): option for option in options if option.threads == options[0].threads}
    return ChosenSetting(by_name[entry.setting], entry.speeds, entry.note) if entry.setting in by_name else None


def _tried(
    family: Family[Config, Any], config: Config, options: list[Setting], facts: Mapping[str, Any]
) -> ChosenSetting:
    """Try the settings; what was tried to the end is remembered for later processes.

    Not so that one thread was faster than several: they may have waited for those of other programs.
    """
    torch.set_num_threads(options[0].threads)
    with torch.random.fork_rng([torch.cuda.current_device()] if config.device == "cuda" else []):
        plain = config.replace(memory_format="channels_last")
        trial = Trial(family.prepare(plain, devices.make_accelerator(config.device, "fp32")), options)
        trial.size_up()
        if trial.seconds > SILENT_SECONDS:
            what = trial.training.title
            print(f"{what}: trying precision, memory format and threads for up to {trial.seconds:.0f} s", flush=True)
        trial.run()
    choice = trial.choice()
    if trial.complete and choice.setting.threads == options[0].threads:
        write_entry(facts, str(choice.setting), choice.speeds, choice.note)
    return choice
