"""What a benchmark will measure: names and sizes checked before a run is made, and about how long it will take."""

import dataclasses
import itertools
import os
import sys
from dataclasses import dataclass
from typing import NamedTuple

import torch

from experiments.cnn.recipes import resolve
from experiments.config import CNN_GROUPS, CNN_MODELS, BenchmarkConfig, CnnConfig, ConfigError, names_in
from experiments.data.images import ImageData, load_images
from experiments.speed.throughput import MIN_BATCHES, PLAIN, LoopVariant, Source, seconds_per_image, variants
from experiments.speed.time_to_accuracy import OWN, USUAL, USUAL_BATCH, USUAL_EPOCHS, Candidate, target_config
from experiments.training import devices

EVALUATION_SHARE = 1 / 3  # forward only, against forward and backward
MOST_EPOCHS, SEEDS_BELOW = 100_000, 2**31  # what a training takes


# Fields that only trainings to `target_accuracy` heed.
TARGET_FIELDS = ("target_precision", "target_recipe", "target_epochs", "target_seeds", "budget_seconds")


@dataclass(frozen=True)
class BenchmarkPlan:
    """A benchmark ready to run; `data` lies on the CPU, `recipes` has every `auto` but device and precision decided.

    `lengths` are the epochs of schedules to try towards the target; none: the recipe's.
    """

    config: BenchmarkConfig
    devices: list[str]
    recipes: dict[str, CnnConfig]
    sizes: list[int]
    lengths: tuple[int, ...]
    data: ImageData

    @property
    def models(self) -> list[str]:
        return list(self.recipes)

    @property
    def title(self) -> str:
        """Such as `6 models on mnist, cpu`."""
        names = self.models[0] if len(self.models) == 1 else f"{len(self.models)} models"
        return f"{names} on {self.data.name}, {' and '.join(self.devices)}"

    def data_on(self, device: str) -> ImageData:
        """The data with its training images on a device; the others are not needed for measuring throughput."""
        return dataclasses.replace(self.data, train=self.data.train.to(device))

    def target_candidates(self) -> list[Candidate]:
        """All that is trained to the target accuracy; none without a target."""
        config = self.config
        if not config.target_accuracy:
            return []
        candidates = []
        for device, model in itertools.product(self.devices, self.models):
            if config.target_recipe != USUAL:
                lengths = self.lengths or (self.recipes[model].epochs,)
                chosen = devices.precisions(device) if config.target_precision == "all" else [config.target_precision]
                candidates += [Candidate(device, model, precision, OWN, lengths) for precision in chosen]
            if config.target_recipe != OWN:
                candidates.append(Candidate(device, model, "fp32", USUAL, USUAL_EPOCHS))
        return candidates


def make_plan(config: BenchmarkConfig) -> BenchmarkPlan:
    """Check all that can be checked, and load the data. Raises ConfigError or DataError for what cannot be measured."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("benchmark runs in one process; valid: without torchrun")
    models = names_in("model", config.model, CNN_MODELS, CNN_GROUPS)
    sizes = _numbers("batch_sizes", config.batch_sizes, 2)
    lengths = (
        () if config.target_epochs == "auto" else tuple(_numbers("target_epochs", config.target_epochs, 1, MOST_EPOCHS))
    )
    if config.seed + config.target_seeds > SEEDS_BELOW:
        raise ConfigError(
            f"target_seeds is {config.target_seeds}, from seed {config.seed} on; valid: up to seed {SEEDS_BELOW - 1}"
        )
    for name in () if config.target_accuracy else TARGET_FIELDS:
        value, default = getattr(config, name), BenchmarkConfig.model_fields[name].default
        if value != default:
            raise ConfigError(f"{name} is {value!r}, with target_accuracy=0; valid: {default}, or a target_accuracy")
    if config.target_recipe == USUAL:
        for name in ("target_precision", "target_epochs"):
            value, default = getattr(config, name), BenchmarkConfig.model_fields[name].default
            if value != default:
                raise ConfigError(
                    f"{name} is {value!r}, which has no meaning for target_recipe=usual; valid: {default}"
                )
    where = _devices(config.device)
    if config.threads:
        torch.set_num_threads(config.threads)
    data = load_images(config.dataset, config.data_dir, train_size=config.train_size, image_size=config.image_size)
    if max(sizes) > len(data.train):
        raise ConfigError(f"batch_sizes has {max(sizes)}; valid: at most {len(data.train)}, the training images")
    recipes = {model: resolve(target_config(config, model, "auto", "auto")) for model in models}
    largest = max(USUAL_BATCH if config.target_recipe != OWN else 0, *(one.batch_size for one in recipes.values()))
    if config.target_accuracy and largest > len(data.train):
        raise ConfigError(
            f"train_size is {config.train_size}; valid with target_accuracy: at least {largest}, "
            "the batch size of the recipes"
        )
    return BenchmarkPlan(config, where, recipes, sizes, lengths, data)


def _numbers(field: str, text: str, least: int, most: int = sys.maxsize) -> list[int]:
    """Different whole numbers in their order. Raises ConfigError for anything else."""
    try:
        numbers = [int(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < least or max(numbers) > most:
        limits = f"above {least - 1}" if most == sys.maxsize else f"from {least} to {most}"
        raise ConfigError(f"{field} is {text!r}; valid: whole numbers {limits}, separated by commas")
    return list(dict.fromkeys(numbers))


def _devices(name: str) -> list[str]:
    """The devices to measure one after the other; `all` is the CPU and what `auto` finds besides."""
    if name != "all":
        return [devices.resolve_device(name)]
    return list(dict.fromkeys(("cpu", devices.resolve_device("auto"))))


class Estimate(NamedTuple):
    """Seconds; those of training to the target are an upper bound, as it may be reached before the last epoch."""

    throughput: float
    target: float


def estimate(plan: BenchmarkPlan) -> Estimate:
    """Measure a few steps of every model in every precision, and add up what the plan would take."""
    config, cost = plan.config, {}
    for device in plan.devices:
        data, precisions = plan.data_on(device), devices.precisions(device)
        for model, recipe in plan.recipes.items():
            source = Source(recipe, data, device)
            for name in precisions:
                cost[device, model, name] = seconds_per_image(source, LoopVariant("ours", name, "channels_last"))
            cost[device, model, "auto"] = min(cost[device, model, name] for name in precisions)
            # Without workers, which change little, but slow the smallest networks down by a quarter or more.
            cost[device, model, PLAIN.loop] = seconds_per_image(source, PLAIN)
    throughput = 0.0
    for device, model in itertools.product(plan.devices, plan.models):
        for variant, size in itertools.product(variants(plan.recipes[model], device), plan.sizes):
            loop = variant.precision if variant.workers is None else PLAIN.loop
            step = size * cost[device, model, loop]
            warm_up = min(variant.warm_up * step, config.seconds + step)
            throughput += config.repeats * (warm_up + max(config.seconds, MIN_BATCHES * step))
    target = 0.0
    images = len(plan.data.train) + EVALUATION_SHARE * len(plan.data.val)
    for candidate in plan.target_candidates():
        loop = PLAIN.loop if candidate.recipe == USUAL else candidate.precision
        for length in candidate.lengths:
            seconds = length * images * cost[candidate.device, candidate.model, loop]
            target += config.target_seeds * (min(seconds, config.budget_seconds) if config.budget_seconds else seconds)
    return Estimate(throughput, target)
