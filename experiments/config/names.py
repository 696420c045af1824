"""The names that parameters may take."""

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import NamedTuple

from tasks import TASKS

CNN_MODELS = (
    "lenet5", "alexnet", "vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn",
    "resnet18", "resnet34", "resnet50", "xception", "seresnet18", "seresnet50", "senet154",
    "alexnet_small", "vgg_small", "resnet20", "resnet56", "xception_small", "seresnet20",
)  # fmt: skip
CNN_GROUPS = {
    "small": ("lenet5", "alexnet_small", "vgg_small", "resnet20", "xception_small", "seresnet20"),
    "full": ("lenet5", "alexnet", "vgg16_bn", "resnet18", "xception", "seresnet18"),
}
IMAGE_DATASETS = ("digits", "mnist", "fashion_mnist", "cifar10")
IMAGE_SIZE = 32  # of those
# Those with ImageNet weights on the Hub: timm has none of AlexNet and SE-ResNet-18, and its Xception is not there.
PRETRAINED_CNNS = (
    "vgg11", "vgg13", "vgg16", "vgg19", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn",
    "resnet18", "resnet34", "resnet50", "seresnet50", "senet154",
)  # fmt: skip
PRETRAINED_SIZE = 128  # of images, the smallest: below it networks have other first layers than their papers
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
MEMORY_FORMATS = ("auto", "channels_last", "contiguous")
OPTIMIZERS = ("sgd", "adamw")
CNN_OPTIMIZERS = (*OPTIMIZERS, "muon")
SCHEDULES = ("cosine", "one_cycle", "constant")
TRACKING = ("mlflow", "none")
SAMPLERS = ("tpe", "gp", "random")
PRUNERS = ("asha", "hyperband", "median", "none")
# All but those whose answers no metric here tells good from bad.
EVALUATED_TASKS = tuple(task for task in TASKS if task not in ("chatbot", "image-generation"))
CELLS = ("gru", "lstm", "transformer")
ATTENTIONS = ("none", "additive", "dot", "scaled_dot", "general", "concat", "multihead")
POSITIONS = ("none", "sinusoidal", "learned", "rotary", "relative")
SEQ2SEQ_GROUPS = {
    "attention": tuple(f"gru-{attention}" for attention in ATTENTIONS),
    "transformer": tuple(f"transformer-{positions}" for positions in POSITIONS),
}
SEQ2SEQ_MODELS = (
    *(f"{cell}-{attention}" for cell in ("gru", "lstm") for attention in ATTENTIONS),
    *(f"transformer-{positions}" for positions in POSITIONS),
)


class FamilyNames(NamedTuple):
    """What programs may be told of a family of networks.

    Attributes:
        path: module and name of its `Family`, named, not imported: it loads what its networks need.
        models, datasets: valid names; the first data set is the default.
        groups: names that stand for several models.
        default_model: of programs that take one.
        registered: the registered model of trainings on a data set.
        identity: the parameters that say which network is trained on which data.
        own_data: whether a data set may also be the path of the user's own.
    """

    path: str
    models: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    datasets: tuple[str, ...]
    default_model: str
    registered: str
    identity: tuple[str, ...]
    own_data: bool


# By the name of the entry point.
FAMILIES = {
    "cnn": FamilyNames(
        path="experiments.cnn.report:CNN",
        models=CNN_MODELS,
        groups=CNN_GROUPS,
        datasets=IMAGE_DATASETS,
        default_model="lenet5",
        registered="cnn-{dataset}",
        identity=("model", "dataset"),
        own_data=True,
    ),
    "seq2seq": FamilyNames(
        path="experiments.seq2seq.report:SEQ2SEQ",
        models=SEQ2SEQ_MODELS,
        groups=SEQ2SEQ_GROUPS,
        datasets=("reversal",),
        default_model="gru-dot",
        registered="seq2seq-reverse",
        identity=("cell", "attention", "positions"),
        own_data=False,
    ),
}
COMPARE_KINDS = (*FAMILIES, "task")
# Tasks whose models can be fine-tuned on texts of the user's own.
FINETUNED_TASKS = ("sentiment-analysis",)
PRETRAINED, RANDOM = "pretrained", "random"
WEIGHTS = (PRETRAINED, RANDOM)
# Tasks whose starter is trained here, and the module that does it; the others have a model in a package.
STARTERS = {
    "sentiment-analysis": "experiments.starters.encoders.sentiment",
    "summarization": "experiments.starters.encoders.summaries",
    "question-answering": "experiments.starters.encoders.questions",
    "image-generation": "experiments.starters.pictures.recipe",
}


def is_own(dataset: str) -> bool:
    """Whether a data set is the user's own, named by a path: with a slash in it, or to a zip or a CSV."""
    return "/" in dataset or "\\" in dataset or dataset.lower().endswith((".zip", ".csv", ".tsv"))


def dataset_name(dataset: str) -> str:
    """What runs, models and files are named after: own data by the last part of the path, in letters, digits and `-_`.

    A name of one of IMAGE_DATASETS gets `my-` before it, so that the two are not confused.
    """
    if not is_own(dataset):
        return dataset
    stem = PurePath(dataset.replace("\\", "/").rstrip("/"))
    name = stem.stem if stem.suffix.lower() in (".zip", ".csv", ".tsv") else stem.name
    clean = re.sub(r"[^A-Za-z0-9_]+", "-", name).strip("-")[:60] or "pictures"
    return f"my-{clean}" if clean.lower() in IMAGE_DATASETS else clean
