"""What is tuned: a family of models, the configuration that every trial starts from, the space, the data."""

import importlib
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.config import (
    FAMILIES,
    ConfigError,
    TuneConfig,
    check_image_size,
    dataset_name,
    names_in,
    training_config,
)
from experiments.training import devices
from experiments.training.continuation import deciding
from experiments.training.family import DataIdentity, Family
from experiments.tuning.space import Space, limit_batch_size, make_space, recipe_in, written


@dataclass(frozen=True)
class TuningJob:
    """A search ready to run.

    Attributes:
        config: as the user gave it, with `auto` decided for model, data set and study.
        base: the training that every trial is a variation of, with every `auto` decided.
        space: what is searched.
        recipe: the recipe's own values within the space, tried first; None where there are none.
        metric: the validation metric that decides; higher is better.
        entry_point: of `MLproject`, which trains such a model.
        registered_name: of the model that trainings become versions of.
    """

    config: TuneConfig
    family: Family[Any, Any]
    base: Any
    space: Space
    recipe: Mapping[str, Any] | None
    data: DataIdentity
    metric: str
    entry_point: str
    registered_name: str

    @property
    def metric_name(self) -> str:
        """The metric as reports write it: `accuracy`, `sequence accuracy`."""
        return self.metric.removeprefix("val_").replace("_", " ")

    def trial_config(self, values: Mapping[str, Any]) -> Any:
        """The training of a trial."""
        return self.base.replace(**values, register=False)

    def identity(self) -> dict[str, Any]:
        """All that decides what a trial's values mean: the same for every worker of a study."""
        return {
            "kind": self.config.kind,
            **{name: value for name, value in deciding(self.base).items() if name not in self.space},
            "search": ",".join(f"{name}={written(part)}" for name, part in sorted(self.space.items())),
            "data": self.data.sha256,
            "split": self.data.split_sha256,
        }


def make_job(config: TuneConfig) -> TuningJob:
    """Check all that can be checked before a study is touched, and load the data once.

    Raises ConfigError for names, ranges, sizes and devices that do not exist, DataError for data that are not there.
    """
    names = FAMILIES[config.kind]
    model = _one("model", config.model, names.models, names.default_model)
    dataset = _one("dataset", config.dataset, names.datasets, names.datasets[0], names.own_data)
    check_image_size(config.image_size, [dataset])
    name = f"{config.kind}-{model}-{dataset_name(dataset)}" if config.study == "auto" else config.study
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name.startswith("."):
        raise ConfigError(f"study is {name!r}; valid: letters, digits, '-', '_' and '.', not first")
    config = config.replace(model=model, dataset=dataset, study=name)
    module, attribute = names.path.split(":")
    family = getattr(importlib.import_module(module), attribute)
    base = family.decide(training_config(config, model, dataset, config.seed))
    space, fixed = make_space(config.kind, dataset, config.search, base)
    base = base.replace(**fixed)
    accelerator = devices.make_accelerator(base.device, base.precision)
    # Whatever is fixed must build, whatever batch size is searched must fit the data.
    prepared = family.prepare(base.replace(batch_size=1), accelerator)
    for warning in prepared.warnings:  # here, once, and not for each training
        print(f"warning: {warning}", file=sys.stderr)
    space, base = limit_batch_size(space, base, len(prepared.data.train), config.search)
    for size in getattr(space.get("hidden_size"), "choices", ()):
        family.prepare(base.replace(hidden_size=size, train_size=base.batch_size), accelerator)
    registered = names.registered.format(dataset=dataset_name(dataset))
    recipe = recipe_in(space, base)
    return TuningJob(
        config, family, base, space, recipe, prepared.identity, prepared.selected_by, family.name, registered
    )


def _one(field: str, text: str, valid: tuple[str, ...], automatic: str, paths: bool = False) -> str:
    names = names_in(field, text, valid, {}, automatic, paths)
    if len(names) > 1:
        raise ConfigError(f"{field} names {len(names)}; valid: one of {', '.join(valid)}")
    return names[0]
