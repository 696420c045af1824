"""The model that a fine-tuning begins with: found and checked before torch is loaded, then opened with its own classes
or with a new head."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.config import ConfigError, FinetuneConfig
from experiments.registration.choice import ChosenModel, choose
from experiments.registration.folder import UNKNOWN, front_matter
from tasks.base import ModelFolderError, first_line
from tasks.hub.checks import GGUF, check_config, model_files
from tasks.hub.names import Source
from tasks.hub.package import PackageSource
from tasks.json_files import read_json

if TYPE_CHECKING:
    import torch

CLASSIFIER = "AutoModelForSequenceClassification"


@dataclass(frozen=True)
class BaseModel:
    """A folder with weights on this machine.

    Attributes:
        revision: the commit on the Hub; None for a folder.
        license: empty if it is not known.
    """

    name: str
    folder: Path
    revision: str | None
    license: str


def chosen(config: FinetuneConfig) -> ChosenModel:
    """The model that a configuration names; of a folder its files are checked. Nothing is downloaded, and no torch
    is loaded.

    Raises ConfigError, in one line, for what can be no model to fine-tune.
    """
    choice = choose(config.task, config.model, config.revision)
    if choice.file is not None or GGUF in choice.variant or isinstance(choice.source, PackageSource):
        raise ConfigError(f"model is {config.model!r}, a GGUF file, which cannot be trained; valid: safetensors")
    if choice.folder is not None:
        try:
            check_config(choice.folder)
            found = {path.suffix for path in model_files(choice.folder)}
        except ModelFolderError as error:
            raise ConfigError(f"model: {error}") from error
        if ".safetensors" not in found:
            raise ConfigError(
                f"model is {config.model!r}, which has no weights as safetensors; valid: a folder with them"
            )
    return choice


def located(config: FinetuneConfig) -> BaseModel:
    """The model's folder; one of the Hub is downloaded if need be. Raises ConfigError, in one line."""
    choice = chosen(config)
    if choice.folder is not None:
        license = str(front_matter(choice.folder).get("license", UNKNOWN))
        return BaseModel(choice.name, choice.folder, None, license)
    from experiments.registration.download import downloaded

    try:
        assert isinstance(choice.source, Source)  # packages carry GGUF only
        found = downloaded(choice.source, config.task, choice.variant, ())
    except ModelFolderError as error:
        raise ConfigError(f"model: {error}") from error
    known = choice.entry.license if choice.entry else None
    return BaseModel(choice.name, found.folder, found.source.revision, known or found.license or UNKNOWN)


def own_classes(base: BaseModel) -> tuple[str, ...]:
    """The classes that the model already distinguishes, in its order; empty if it is no classifier."""
    try:
        config = read_json(base.folder / "config.json")
        names = config.get("id2label") or {}
        if any("SequenceClassification" in name for name in config.get("architectures") or ()):
            return tuple(str(names[key]) for key in sorted(names, key=int))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"model: {base.folder / 'config.json'} cannot be read: {first_line(error)}") from error
    return ()


def open_classifier(
    base: BaseModel, classes: Sequence[str], *, new_head: bool, random: bool, device: "torch.device"
) -> tuple[Any, Any]:
    """The network, on the CPU, and its tokenizer.

    Args:
        new_head: give it a new last layer, also where it has one of this size.
        random: give all of it new weights.

    Raises ConfigError, in one line, for a folder that does not hold a model that can become a classifier.
    """
    import torch
    import transformers
    from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

    from tasks.engines.loading import load_model, load_tokenizer

    head: dict[str, Any] = {
        "num_labels": len(classes),
        "id2label": dict(enumerate(classes)),
        "label2id": {name: number for number, name in enumerate(classes)},
        "problem_type": "single_label_classification",
    }
    if device.type == "cpu":  # step by step: on texts this short twice as fast as the fused kernels
        head["attn_implementation"] = "eager"
    try:
        check_config(base.folder)
        kind = read_json(base.folder / "config.json").get("model_type")
        if kind not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES:
            raise ModelFolderError(f"{base.folder} holds a model of type {kind!r}, which cannot classify texts")
        tokenizer = load_tokenizer(base.folder)
        if random:
            attention = head.pop("attn_implementation", None)
            config = transformers.AutoConfig.from_pretrained(base.folder, trust_remote_code=False, **head)
            network = transformers.AutoModelForSequenceClassification.from_config(config, attn_implementation=attention)
        else:
            network = load_model(base.folder, CLASSIFIER, torch.device("cpu"), torch.float32, head)
    except ModelFolderError as error:
        raise ConfigError(f"model: {error}; valid: an encoder or text classifier, such as bert or roberta") from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.pad_token_id is None:
        raise ConfigError(f"model: the tokenizer in {base.folder} has no token to fill up short texts with")
    network.config.pad_token_id = tokenizer.pad_token_id
    if new_head and not random:
        body = getattr(network, network.base_model_prefix)
        shared = set(body.modules())
        for module in network.modules():
            if module not in shared and getattr(module, "out_features", None) == len(classes):
                module.reset_parameters()
    return network, tokenizer
