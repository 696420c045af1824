"""Parameters of the programs around trainings: compare, tune, benchmark, register, starter, evaluate."""

from collections.abc import Iterable
from typing import Any

from experiments.config.names import (
    COMPARE_KINDS,
    DEVICES,
    EVALUATED_TASKS,
    FAMILIES,
    IMAGE_DATASETS,
    IMAGE_SIZE,
    PRECISIONS,
    PRUNERS,
    SAMPLERS,
    STARTERS,
    TRACKING,
    is_own,
)
from experiments.config.options import Config, ConfigError
from experiments.config.training import (
    CnnConfig,
    Seq2SeqConfig,
    TrainConfig,
    cnn_weights_option,
    image_size_option,
)
from tasks import PRETRAINED_TASKS
from tasks.parameters import option, typed


class CompareConfig(Config):
    """Compare models: train every model on every data set with every seed, under one parent run, and report the
    differences; or (kind=task) evaluate registered models of one task on labeled rows.
    """

    kind: str = option(
        "cnn", "what to compare: networks to be trained, or registered models of a task", choices=COMPARE_KINDS
    )
    models: str = option(
        "auto",
        "comma-separated names; CNN groups: small, full (auto = small on a CPU, full on a GPU); seq2seq groups: "
        "attention, transformer (auto = both); for kind=task, registered models as name, name@alias or name/version "
        "(auto = all of the task)",
    )
    datasets: str = option(
        "auto",
        "comma-separated names of image data sets or paths of your own pictures (auto = digits); for kind=task, a CSV "
        "file of labeled rows (auto = the small sample that comes with the project)",
    )
    task: str = option("auto", "for kind=task: the task; auto = that of the models", choices=("auto", *EVALUATED_TASKS))
    settings: str = option("none", "for kind=task: the task's parameters, such as num_beams=1,max_length=60")
    columns: str = option("auto", "for kind=task: which CSV column to use for what, such as text=review,label=mood")
    seeds: int = option(1, "number of seeds: 0, 1, ...", ge=1, le=1000)
    epochs: int = option(None, "passes over the training data; auto = each recipe's", ge=1, le=100_000)
    train_size: int = option(0, "number of training examples; 0 = all, for seq2seq its default", ge=0)
    image_size: int = image_size_option()
    weights: str = cnn_weights_option()
    data_dir: str = option("data", "folder for data sets; missing ones are downloaded there")
    device: str = option("auto", "where to train, or where to run the models of a task", choices=DEVICES)
    precision: str = option("auto", "compute precision; auto = the fastest in a short trial", choices=PRECISIONS)
    threads: int = option(0, "CPU threads; 0 = all, or one where that is faster in a short trial", ge=0, le=1024)
    storage: str = option(
        "auto",
        "where workers that share a grid agree on who trains what, as in tune; auto = an SQLite file under studies/, "
        "next to the tracking store",
    )
    confirm: bool = option(False, "train even if it is estimated to take longer than 12 hours")
    resume: str = option(
        "none", "id of the comparison to resume; an unfinished one of the same grid is found automatically"
    )
    register: bool = option(True, "register the trained models; the best in validation becomes champion")
    tracking: str = option("mlflow", "where to log training runs; none = to the folder `out`", choices=TRACKING)
    out: str = option(
        "none", "results folder for tracking=none: no MLflow, at most 16 MiB, resumed by the same command"
    )
    minutes: float = option(
        0.0,
        "with tracking=none: time limit, met by cutting the epochs of every training by the same fraction; 0 = none",
        ge=0,
    )
    import_results: str = option("none", "results folder left by tracking=none, to log to MLflow; nothing is trained")


# Fields of CompareConfig that mean something for these kinds only.
_EVALUATION_FIELDS = ("task", "settings", "columns")
_TRAINING_FIELDS = (
    *("seeds", "epochs", "train_size", "image_size", "weights", "data_dir", "precision", "storage", "confirm"),
    *("resume", "register", "tracking", "out", "minutes", "import_results"),
)
_IMAGE_FIELDS = ("image_size", "weights", "data_dir")
_SEQUENCES = "networks are trained on sequences that the program makes"
_OFFLINE_FIELDS = ("out", "minutes")
_TRACKED_FIELDS = ("resume", "storage", "import_results")


def check_kind(config: CompareConfig) -> None:
    """Raise ConfigError for a field that means nothing for the kind of comparison, unless it is left at its default.

    (`mlflow run` passes on the declared parameters whether the user gave them or not.)
    """
    foreign, why = {
        "task": (_TRAINING_FIELDS, "nothing is trained"),
        "cnn": (_EVALUATION_FIELDS, "networks are trained"),
        "seq2seq": ((*_EVALUATION_FIELDS, *_IMAGE_FIELDS), _SEQUENCES),
    }[config.kind]
    _refuse(config, foreign, f"kind={config.kind}, where {why}")
    offline = config.tracking == "none"
    _refuse(config, _TRACKED_FIELDS if offline else _OFFLINE_FIELDS, f"tracking={config.tracking}")
    if config.import_results != "none":
        others = [name for name in CompareConfig.model_fields if name not in ("import_results", "register")]
        _refuse(config, others, "import_results, where the folder says what was compared")
    if offline and config.out in ("none", ""):
        raise ConfigError(
            f"out is {config.out!r}; valid with tracking=none: a folder for the results, such as out=results"
        )


def _refuse(config: Config, names: Iterable[str], where: str) -> None:
    """Raise ConfigError for a field with another value than its default where it means nothing."""
    defaults = type(config)()
    for name in names:
        value, default = getattr(config, name), getattr(defaults, name)
        if value != default:
            raise ConfigError(
                f"{name} is {value!r}, which has no meaning for {where}; valid: {typed(default)}, or leave it out"
            )


class TuneConfig(Config):
    """Search for good settings of one model on one data set by validation, then retrain with the best ones over several
    seeds; the same command, run again, resumes the study; run elsewhere at the same time, it joins it.
    """

    kind: str = option("cnn", "what to tune: a convolutional network or an encoder-decoder", choices=tuple(FAMILIES))
    model: str = option(
        "auto", "architecture, or variant such as gru-dot or transformer-rotary; auto = lenet5, for seq2seq gru-dot"
    )
    dataset: str = option(
        "auto",
        "data set, or the path of your own pictures; auto = digits, for seq2seq reversal",
        suggestions=IMAGE_DATASETS,
    )
    trials: int = option(
        20,
        "finished trials (complete or pruned) of the study across all workers; each worker after the first may add one",
        ge=1,
        le=100_000,
    )
    timeout: int = option(0, "seconds after which this worker starts no new trial; 0 = no limit", ge=0)
    study: str = option("auto", "name of the study; auto = kind-model-dataset")
    storage: str = option(
        "auto",
        "where the study is stored: the URL of an SQLite file or a PostgreSQL database, such as "
        "postgresql://user@host/studies; auto = an SQLite file under studies/, next to the tracking store",
    )
    search: str = option(
        "none",
        "ranges that replace the default ones, such as learning_rate=1e-4:1e-2,optimizer=sgd|adamw,cutout=0; name=auto "
        "leaves a parameter to the recipe",
    )
    sampler: str = option("tpe", "Optuna's sampler, which proposes settings", choices=SAMPLERS)
    pruner: str = option("asha", "Optuna's pruner, which ends unpromising trials early", choices=PRUNERS)
    seeds: int = option(
        3, "number of seeds with which the best settings are retrained and tested; 0 = none", ge=0, le=1000
    )
    epochs: int = option(None, "passes over the training data; auto = the recipe's", ge=1, le=100_000)
    train_size: int = option(0, "number of training examples; 0 = all, for seq2seq its default", ge=0)
    image_size: int = image_size_option()
    weights: str = cnn_weights_option()
    seed: int = option(0, "seed for the proposals and every trial; the best is retrained with others", ge=0, lt=2**30)
    data_dir: str = option("data", "folder for data sets; missing ones are downloaded there")
    device: str = option("auto", "where to train", choices=DEVICES)
    precision: str = option("auto", "compute precision; auto = the fastest in a short trial", choices=PRECISIONS)
    threads: int = option(0, "CPU threads; 0 = all, or one where that is faster in a short trial", ge=0, le=1024)
    register: bool = option(
        True, "register the retrained models; the best becomes champion if the mean validation result is better"
    )


def check_tuned_kind(config: TuneConfig) -> None:
    """Raise ConfigError for a field that means nothing for what is tuned, unless it is left at its default."""
    if config.kind == "seq2seq":
        _refuse(config, _IMAGE_FIELDS, f"kind={config.kind}, where {_SEQUENCES}")


def training_config(
    program: CompareConfig | TuneConfig, model: str, dataset: str, seed: int
) -> CnnConfig | Seq2SeqConfig:
    """One training of a comparison or a study, its `auto`s left to the recipe."""
    shared: dict[str, Any] = {
        name: getattr(program, name) for name in ("epochs", "device", "precision", "threads", "register")
    }
    if program.kind == "cnn":
        size = program.image_size if is_own(dataset) else IMAGE_SIZE
        data = {"dataset": dataset, "data_dir": program.data_dir, "train_size": program.train_size, "image_size": size}
        return CnnConfig(model=model, seed=seed, weights=program.weights, **data, **shared)
    cell, variant = model.split("-", 1)
    shared |= {"positions": variant} if cell == "transformer" else {"attention": variant}
    if program.train_size:
        shared["train_size"] = program.train_size
    return Seq2SeqConfig(cell=cell, seed=seed, **shared)


class RegisterConfig(Config):
    """Register pretrained models from the Hugging Face Hub, or from a folder, as the models that the tasks use."""

    task: str = option("all", "which task; all = each with its starter", choices=("all", *PRETRAINED_TASKS))
    model: str = option(
        "auto",
        "name in the catalog (tasks/catalog.yaml), id on the Hub (for GGUF also owner/name:Q4_K_M), folder or .gguf "
        "file; auto = the starter that comes with the project, hub = the catalog's default",
    )
    search: str = option(
        "none", "words in the ids of models on the Hub: prints those that can run here, without registering any"
    )
    limit: int = option(20, "how many models a search prints", ge=1, le=100)
    package_weights: bool = option(
        False, "copy the weights into the registry, to serve offline; those of a folder always are"
    )
    revision: str = option(None, "commit, tag or branch on the Hub; auto = the catalog's, or main")
    champion: bool = option(
        None,
        "make the registered version champion, which the tool and the serve command use; auto = if it is the first, or "
        "better than the champion on the task's sample",
    )
    evaluate: bool = option(True, "evaluate on the task's small labeled sample, where a metric makes sense")
    device: str = option("auto", "where to load the model for its first answer", choices=DEVICES)


def check_limit(config: RegisterConfig) -> None:
    """Raise ConfigError for a number of models to print where none are searched, unless it is left at its default."""
    if config.search == "none":
        _refuse(config, ["limit"], "a registration, only for a search")


class StarterConfig(TrainConfig):
    """Train the small model that this project ships for a task, on public texts or pictures.

    A default of `auto` is decided by the task's recipe.
    """

    task: str = option(
        "sentiment-analysis",
        "task whose starter is trained",
        choices=tuple(STARTERS),
    )
    data_dir: str = option("data", "folder for data sets; docs/starters.md says which file goes where")
    encoder: str = option(
        "none", "for sentiment, questions and summaries: folder of a public BERT to start from; none = random weights"
    )
    train_size: int = option(0, "number of training examples; 0 = all", ge=0)
    output: str = option("none", "also write the finished model to this folder, such as starters/sentiment")


class EvaluateConfig(Config):
    """Evaluate the starters on held-out data, for their cards; for registered models see compare with kind=task."""

    task: str = option("all", "task whose starter is evaluated", choices=("all", *STARTERS))
    data_dir: str = option("data", "folder for data sets; docs/starters.md says which file goes where")
    folder: str = option("auto", "another model folder to evaluate on the same data; auto = the starter's")
    write: bool = option(False, "write the figures into the model cards")
    threads: int = option(0, "CPU threads; 0 = all cores", ge=0, le=1024)
