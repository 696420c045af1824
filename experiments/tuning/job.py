"""What is tuned: a family of models, the configuration that every trial starts from, the space, the data."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.config import (
    CNN_MODELS,
    IMAGE_DATASETS,
    SEQ2SEQ_DATASETS,
    SEQ2SEQ_MODELS,
    CnnConfig,
    ConfigError,
    Seq2SeqConfig,
    TuneConfig,
    names_in,
)
from experiments.training import devices
from experiments.training.family import DataIdentity, Family
from experiments.training.resume import FREE_TO_CHANGE
from experiments.tuning.space import Space, limit_batch_size, make_space, recipe_in


@dataclass(frozen=True)
class Kind:
    """What `TuneConfig.kind` stands for; `registered` is the registered model of trainings on a data set."""

    family: str
    models: tuple[str, ...]
    datasets: tuple[str, ...]
    defaults: tuple[str, str]
    registered: str


# Named, not imported: each loads what its own models need.
KINDS = {
    "cnn": Kind("experiments.cnn.training:CNN", CNN_MODELS, IMAGE_DATASETS, ("lenet5", "digits"), "cnn-{dataset}"),
    "seq2seq": Kind(
        "experiments.seq2seq.training:SEQ2SEQ",
        SEQ2SEQ_MODELS,
        SEQ2SEQ_DATASETS,
        ("gru-dot", "reversal"),
        "seq2seq-reverse",
    ),
}


@dataclass(frozen=True)
class Job:
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

    def trial_config(self, values: Mapping[str, Any]) -> Any:
        """The training of a trial."""
        return self.base.replace(**values, register=False)

    def identity(self) -> dict[str, Any]:
        """All that decides what a trial's values mean: the same for every worker of a study."""
        fields = self.base.model_dump()
        free = FREE_TO_CHANGE | set(self.space)
        return {
            "kind": self.config.kind,
            **{name: value for name, value in fields.items() if name not in free},
            "search": ",".join(f"{name}={part}" for name, part in sorted(self.space.items())),
            "data": self.data.sha256,
            "split": self.data.split_sha256,
        }


def make_job(config: TuneConfig) -> Job:
    """Check all that can be checked before a study is touched, and load the data once.

    Raises ConfigError for names, ranges, sizes and devices that do not exist, DataError for data that are not there.
    """
    kind = KINDS[config.kind]
    model = _one("model", config.model, kind.models, kind.defaults[0])
    dataset = _one("dataset", config.dataset, kind.datasets, kind.defaults[1])
    name = f"{config.kind}-{model}-{dataset}" if config.study == "auto" else config.study
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name.startswith("."):
        raise ConfigError(f"study is {name!r}; valid: letters, digits, '-', '_' and '.', not first")
    config = config.replace(model=model, dataset=dataset, study=name)
    module, attribute = kind.family.split(":")
    family = getattr(importlib.import_module(module), attribute)
    base = family.decide(_base(config))
    space, fixed = make_space(config.kind, dataset, config.search, base)
    base = base.replace(**fixed)
    accelerator = devices.make_accelerator(base.device, base.precision)
    # Whatever is fixed must build, whatever batch size is searched must fit the data.
    prepared = family.prepare(base.replace(batch_size=1), accelerator)
    space, base = limit_batch_size(space, base, len(prepared.data.train), config.search)
    for size in getattr(space.get("hidden_size"), "values", ()):
        family.prepare(base.replace(hidden_size=size, train_size=base.batch_size), accelerator)
    registered = kind.registered.format(dataset=dataset)
    recipe = recipe_in(space, base)
    return Job(config, family, base, space, recipe, prepared.identity, prepared.selected_by, family.name, registered)


def _one(field: str, text: str, valid: tuple[str, ...], automatic: str) -> str:
    names = names_in(field, text, valid, {}, automatic)
    if len(names) > 1:
        raise ConfigError(f"{field} names {len(names)}; valid: one of {', '.join(valid)}")
    return names[0]


def _base(config: TuneConfig) -> CnnConfig | Seq2SeqConfig:
    """The configuration of the family, its `auto`s left to the recipe."""
    shared: dict[str, Any] = {
        name: getattr(config, name) for name in ("epochs", "seed", "device", "precision", "threads", "register")
    }
    if config.kind == "cnn":
        shared |= {"model": config.model, "dataset": config.dataset, "data_dir": config.data_dir}
        return CnnConfig(train_size=config.train_size, **shared)
    cell, variant = config.model.split("-", 1)
    shared |= {"positions": variant} if cell == "transformer" else {"attention": variant}
    if config.train_size:
        shared["train_size"] = config.train_size
    return Seq2SeqConfig(cell=cell, **shared)
