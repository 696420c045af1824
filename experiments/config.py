"""Every parameter of every entry point: default, help text, bounds. Command line, MLproject and UI derive from it.

Nothing is imported from the project, so that `--help` and the UI can read this without loading torch.
"""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

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
DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("cosine", "one_cycle", "constant")
COMPARE_KINDS = ("cnn", "seq2seq", "task")
TUNE_KINDS = ("cnn", "seq2seq")
SAMPLERS = ("tpe", "gp", "random")
PRUNERS = ("asha", "hyperband", "median", "none")
JUDGED_TASKS = (
    "sentiment-analysis", "question-answering", "summarization", "next-word-prediction", "story-completion",
    "image-classification", "sequence-reversal",
)  # fmt: skip
CELLS = ("gru", "lstm", "transformer")
ATTENTIONS = ("none", "additive", "dot", "scaled_dot", "general", "concat", "multihead")
POSITIONS = ("none", "sinusoidal", "learned", "rotary", "relative")
SEQ2SEQ_GROUPS = {
    "attention": tuple(f"gru-{attention}" for attention in ATTENTIONS),
    "transformer": tuple(f"transformer-{positions}" for positions in POSITIONS),
}
SEQ2SEQ_DATASETS = ("reversal",)
SEQ2SEQ_MODELS = (
    *(f"{cell}-{attention}" for cell in ("gru", "lstm") for attention in ATTENTIONS),
    *(f"transformer-{positions}" for positions in POSITIONS),
)

PRETRAINED_TASKS = (
    "sentiment-analysis", "summarization", "next-word-prediction", "story-completion", "question-answering", "chatbot",
    "image-generation",
)  # fmt: skip


class UserError(Exception):
    """Something that a person gave cannot work. The text says what was wrong and what is valid."""


class ConfigError(UserError):
    """A parameter is out of its bounds, or parameters contradict each other."""


class TrainingError(Exception):
    """A run that had started cannot go on. The text says why; the run is marked FAILED."""


def option(
    default: Any,
    help: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] | None = None,
) -> Any:
    """A dataclass field with what the command line, the checks and the UI need to know of it."""
    bounds = {"at_least": at_least, "above": above, "at_most": at_most, "below": below}
    metadata = {"help": help, "choices": choices, **{k: v for k, v in bounds.items() if v is not None}}
    return dataclasses.field(default=default, metadata=metadata)


def valid_range(metadata: Any) -> str:
    """The bounds of a field in words, such as "at least 1 and at most 10"; empty where it has none."""
    words = {"at_least": "at least", "above": "above", "at_most": "at most", "below": "below"}
    return " and ".join(f"{text} {metadata[key]:g}" for key, text in words.items() if key in metadata)


def check(config: Any) -> None:
    """Raise ConfigError for the first field of a configuration dataclass that is not a choice or out of its bounds."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if value is None and field.default is None:
            continue
        choices = field.metadata.get("choices")
        if choices and value not in choices:
            raise ConfigError(f"{field.name} is {value!r}; {_hint(value, choices)}")
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            _check_number(field.name, value, field.metadata)


def _hint(value: Any, choices: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(str(value), choices, n=1)
    return f"{f'did you mean {close[0]!r}? ' if close else ''}valid: {', '.join(choices)}"


def _check_number(name: str, value: float, bounds: Any) -> None:
    inside = (
        math.isfinite(value)
        and value >= bounds.get("at_least", -math.inf)
        and value > bounds.get("above", -math.inf)
        and value <= bounds.get("at_most", math.inf)
        and value < bounds.get("below", math.inf)
    )
    if not inside:
        raise ConfigError(f"{name} is {value}; valid: {valid_range(bounds) or 'a finite number'}")


def names_in(
    field: str, text: str, valid: tuple[str, ...], groups: Mapping[str, tuple[str, ...]], automatic: str = "auto"
) -> list[str]:
    """The names in a comma-separated list, groups written out, each once, in the order given.

    Args: automatic: what `auto` stands for, itself such a list.

    Raises ConfigError for a name that is neither in `valid` nor in `groups`, and when there is none at all.
    """
    words = ",".join(automatic if part.strip() == "auto" else part for part in text.split(",")).split(",")
    names: dict[str, None] = {}
    for name in (word.strip() for word in words):
        names |= dict.fromkeys(groups.get(name, (name,) if name else ()))
    if not names:
        raise ConfigError(f"{field} is {text!r}, which names nothing; valid: {', '.join((*groups, *valid))}")
    for name in names:
        if name not in valid:
            close = difflib.get_close_matches(name, (*valid, *groups), n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            raise ConfigError(f"{field} names {name!r}; {hint}valid: {', '.join((*groups, *valid))}")
    return list(names)


@dataclass(frozen=True)
class TrainConfig:
    """What every training shares.

    A default of None is written `auto` on the command line: the recipe for the model and data set decides it before
    anything else sees the configuration.
    """

    seed: int = option(0, "seed of weights, data order, augmentation and dropout", at_least=0, below=2**31)
    epochs: int = option(None, "passes over the training data", at_least=1, at_most=100_000)
    batch_size: int = option(None, "examples per optimizer step, over all processes", at_least=1)
    learning_rate: float = option(None, "highest learning rate of the schedule", above=0, at_most=100)
    weight_decay: float = option(None, "decay of weights; norms and biases are exempt", at_least=0, below=1)
    optimizer: str = option(None, "sgd (Nesterov momentum 0.9) or adamw", choices=OPTIMIZERS)
    schedule: str = option(None, "learning rate over time, per step", choices=SCHEDULES)
    warmup: float = option(None, "fraction of all steps with a rising learning rate", at_least=0, below=1)
    grad_clip: float = option(None, "largest norm of the gradient; 0 = no clipping", at_least=0)
    ema_decay: float = option(None, "moving average of weights, for evaluation; 0 = off", at_least=0, below=1)
    device: str = option("auto", "where to train", choices=DEVICES)
    precision: str = option("auto", "arithmetic; auto = bf16 where the hardware has it", choices=PRECISIONS)
    threads: int = option(0, "CPU threads; 0 = all cores", at_least=0, at_most=1024)
    resume: str = option("none", "id of an unfinished run to go on with")
    register: bool = option(True, "register the trained model, and make it champion if it is the best by validation")


@dataclass(frozen=True)
class CnnConfig(TrainConfig):
    """Train one convolutional network on one image data set."""

    model: str = option("lenet5", "architecture", choices=CNN_MODELS)
    dataset: str = option("digits", "image data set; digits needs no download", choices=IMAGE_DATASETS)
    label_smoothing: float = option(None, "share of the target spread over all classes", at_least=0, below=1)
    crop: int = option(None, "random shift in pixels, both ways; 0 = off", at_least=0, at_most=16)
    flip: bool = option(None, "mirror every image in every other epoch")
    cutout: int = option(None, "side of a random square set to zero; 0 = off", at_least=0, at_most=32)
    train_size: int = option(0, "use so many training images; 0 = all", at_least=0)
    val_size: int = option(None, "validation images; auto = 10 % of the training data, at least 200", at_least=1)
    split_seed: int = option(0, "seed of the train/validation split, apart from `seed`", at_least=0, below=2**31)
    data_dir: str = option("data", "folder of the data sets; missing ones are downloaded there")


@dataclass(frozen=True)
class Seq2SeqConfig(TrainConfig):
    """Train one encoder-decoder with attention to reverse sequences of integers."""

    attention: str = option("dot", "how a recurrent decoder looks at the source", choices=ATTENTIONS)
    cell: str = option("gru", "what encoder and decoder are made of", choices=CELLS)
    positions: str = option("sinusoidal", "how a Transformer knows positions", choices=POSITIONS)
    vocab_size: int = option(50, "number of symbols", at_least=2, at_most=100_000)
    min_length: int = option(1, "shortest sequence", at_least=1, at_most=1000)
    max_length: int = option(20, "longest sequence in training", at_least=1, at_most=1000)
    hidden_size: int = option(64, "width of the hidden states", at_least=4, at_most=4096)
    layers: int = option(None, "layers of the encoder, and of the decoder", at_least=1, at_most=24)
    dropout: float = option(0.0, "share of hidden values set to zero in training", at_least=0, below=1)
    teacher_forcing: float = option(
        None,
        "share of true tokens among the decoder's inputs in the last epoch; it falls from 1",
        at_least=0,
        at_most=1,
    )
    stop_at: float = option(
        1.0,
        "end the training when so large a share of validation sequences is reversed; 0 = never",
        at_least=0,
        at_most=1,
    )
    beam_width: int = option(1, "hypotheses kept in decoding test sequences; 1 = greedy", at_least=1, at_most=64)
    train_size: int = option(20_000, "training sequences", at_least=1, at_most=10_000_000)
    val_size: int = option(1000, "validation sequences", at_least=1, at_most=1_000_000)
    test_size: int = option(2000, "test sequences", at_least=1, at_most=1_000_000)
    probe_size: int = option(
        500, "test sequences of each single length, up to 5 times max_length", at_least=1, at_most=100_000
    )
    split_seed: int = option(0, "seed of the sequences, apart from `seed`", at_least=0, below=2**31)

    @property
    def model(self) -> str:
        """The variant in a word, such as `gru-dot` or `transformer-rotary`."""
        return f"{self.cell}-{self.positions if self.cell == 'transformer' else self.attention}"


@dataclass(frozen=True)
class CompareConfig:
    """Compare models: train every model on every data set with every seed, under one parent run, and report the
    differences; or (kind=task) judge registered models of one task on labelled rows.
    """

    kind: str = option("cnn", "what is compared: networks in training, or registered models of a task",
                       choices=COMPARE_KINDS)  # fmt: skip
    models: str = option(
        "auto",
        "names separated by commas; groups of CNNs: small, full (auto = small on a CPU, full on a GPU); of seq2seq: "
        "attention, transformer (auto = both); of a task: registered models as name, name@alias or name/version (auto "
        "= all of the task)",
    )
    datasets: str = option(
        "auto",
        "names of image data sets, separated by commas; auto = digits; of a task: a CSV file of labelled rows; auto = "
        "the small sample that comes with the project",
    )
    task: str = option("auto", "of kind task: which; auto = that of the models", choices=("auto", *JUDGED_TASKS))
    settings: str = option("none", "of kind task: the task's parameters, such as num_beams=1,max_length=60")
    seeds: int = option(1, "number of seeds: 0, 1, ...", at_least=1, at_most=1000)
    epochs: int = option(None, "passes over the training data; auto = each recipe's", at_least=1, at_most=100_000)
    train_size: int = option(0, "use so many training examples; 0 = all, of seq2seq its default", at_least=0)
    data_dir: str = option("data", "folder of the data sets; missing ones are downloaded there")
    device: str = option("auto", "where to train, or where the models of a task answer", choices=DEVICES)
    precision: str = option("auto", "arithmetic; auto = bf16 where the hardware has it", choices=PRECISIONS)
    threads: int = option(0, "CPU threads; 0 = all cores", at_least=0, at_most=1024)
    confirm: bool = option(False, "train also what is estimated to take longer than 12 hours")
    resume: str = option("none", "id of the comparison to go on with; an unfinished one of the same grid is found")
    register: bool = option(True, "register the trained models, and make the best by validation champion")


# Fields of CompareConfig that mean something for these kinds only.
JUDGING_FIELDS = ("task", "settings")
TRAINING_FIELDS = ("seeds", "epochs", "train_size", "data_dir", "precision", "confirm", "resume", "register")


def check_kind(config: CompareConfig) -> None:
    """Raise ConfigError for a field that means nothing for the kind of comparison, unless it is left at its default.

    (`mlflow run` passes on the declared parameters whether a person gave them or not.)
    """
    judging = config.kind == "task"
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    for name in TRAINING_FIELDS if judging else JUDGING_FIELDS:
        if getattr(config, name) != defaults[name]:
            default = "auto" if defaults[name] is None else str(defaults[name]).lower()
            why = "nothing is trained" if judging else "networks are trained"
            raise ConfigError(
                f"{name} is {getattr(config, name)!r}, which has no meaning for kind={config.kind}, where {why}; "
                f"valid: {default}, or leave it out"
            )


@dataclass(frozen=True)
class TuneConfig:
    """Search for good settings of one model on one data set by validation, then train the best ones anew over several
    seeds; the same command again goes on with the study, and at the same time elsewhere joins it.
    """

    kind: str = option("cnn", "what is tuned: a convolutional network or an encoder-decoder", choices=TUNE_KINDS)
    model: str = option(
        "auto", "architecture, or variant such as gru-dot or transformer-rotary; auto = lenet5, of seq2seq gru-dot"
    )
    dataset: str = option("auto", "data set; auto = digits, of seq2seq reversal")
    trials: int = option(20, "finished trials, complete or pruned, that the study shall have over all its workers",
                         at_least=1, at_most=100_000)  # fmt: skip
    timeout: int = option(0, "seconds after which this worker begins no further trial; 0 = no limit", at_least=0)
    study: str = option("auto", "name of the study; auto = kind-model-dataset")
    storage: str = option(
        "auto",
        "where the study is kept: a file ending in .journal, or the URL of a database, such as "
        "postgresql://user@host/studies; auto = a journal file under studies/, beside the tracking store",
    )
    search: str = option(
        "none",
        "ranges instead of the standard ones, such as learning_rate=1e-4:1e-2,optimizer=sgd|adamw,cutout=0; name=auto "
        "leaves a parameter to the recipe",
    )
    sampler: str = option("tpe", "how settings are proposed", choices=SAMPLERS)
    pruner: str = option("asha", "how hopeless trials are ended early", choices=PRUNERS)
    seeds: int = option(3, "seeds with which the best settings are trained anew and tested; 0 = not at all",
                        at_least=0, at_most=1000)  # fmt: skip
    epochs: int = option(None, "passes over the training data; auto = the recipe's", at_least=1, at_most=100_000)
    train_size: int = option(0, "use so many training examples; 0 = all, of seq2seq its default", at_least=0)
    seed: int = option(0, "seed of the proposals and of every trial; the best is trained anew with others",
                       at_least=0, below=2**30)  # fmt: skip
    data_dir: str = option("data", "folder of the data sets; missing ones are downloaded there")
    device: str = option("auto", "where to train", choices=DEVICES)
    precision: str = option("auto", "arithmetic; auto = bf16 where the hardware has it", choices=PRECISIONS)
    threads: int = option(0, "CPU threads; 0 = all cores", at_least=0, at_most=1024)
    register: bool = option(
        True, "register what is trained anew; champion becomes the best of it if the mean validation result is better"
    )


@dataclass(frozen=True)
class BenchmarkConfig:
    """Measure training: images per second of our loop in every precision and memory format beside a plain PyTorch loop,
    and, with target_accuracy, the time that each model needs to reach it.
    """

    model: str = option("lenet5", "small, full, or names of architectures separated by commas")
    dataset: str = option("digits", "image data set; digits needs no download", choices=IMAGE_DATASETS)
    batch_sizes: str = option("64,128,256,512", "batch sizes to try, separated by commas; the best of each way counts")
    seconds: float = option(2.0, "least time of one measurement; 3 batches at least", above=0, at_most=600)
    repeats: int = option(3, "measurements of each setting, taken in turns; the median counts", at_least=1, at_most=100)
    target_accuracy: float = option(
        0.0, "train every model by its recipe until validation accuracy reaches this; 0 = off", at_least=0, at_most=1
    )
    target_precision: str = option(
        "auto", "of trainings to target_accuracy; auto = what trainings here take, all = each", choices=("auto", "all")
    )
    budget_seconds: float = option(0.0, "longest training to target_accuracy, a model; 0 = its epochs", at_least=0)
    seed: int = option(0, "seed of the trainings to target_accuracy", at_least=0, below=2**31)
    train_size: int = option(0, "use so many training images; 0 = all", at_least=0)
    device: str = option("auto", "where to train; all = the CPU, then the GPU where there is one",
                         choices=(*DEVICES, "all"))  # fmt: skip
    threads: int = option(0, "CPU threads; 0 = all cores", at_least=0, at_most=1024)
    data_dir: str = option("data", "folder of the data sets; missing ones are downloaded there")
    confirm: bool = option(False, "measure also what is estimated to take longer than 12 hours")


@dataclass(frozen=True)
class RegisterConfig:
    """Register pretrained models of the Hugging Face Hub, or of a folder, as the models that the tasks use."""

    task: str = option("all", "which task; all = each with the catalogue's default", choices=("all", *PRETRAINED_TASKS))
    model: str = option(
        "auto",
        "name of the catalogue (tasks/catalog.yaml), id on the Hub, or folder; auto = the catalogue's default",
    )
    package_weights: bool = option(
        False, "copy the weights into the registry, to serve without a network; of a folder they always are"
    )
    revision: str = option(None, "commit, tag or branch on the Hub; auto = the catalogue's, or main")
    champion: bool = option(True, "make the registered version champion, which the tool and the serve command use")
    evaluate: bool = option(True, "measure on the small labelled sample of the task, where a metric makes sense")
    device: str = option("auto", "where to load the model for its first answer", choices=DEVICES)
