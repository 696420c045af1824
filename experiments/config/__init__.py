"""Every parameter of every entry point: default, help text, bounds. Command line, MLproject and UI derive from it.

Of the project only `tasks.parameters` is imported, so that `--help` and the UI can read this without loading torch.
"""

from experiments.config.names import (
    ATTENTIONS,
    CELLS,
    CNN_GROUPS,
    CNN_MODELS,
    COMPARE_KINDS,
    DEVICES,
    IMAGE_DATASETS,
    JUDGED_TASKS,
    OPTIMIZERS,
    POSITIONS,
    PRECISIONS,
    PRETRAINED_TASKS,
    PRUNERS,
    SAMPLERS,
    SCHEDULES,
    SEQ2SEQ_DATASETS,
    SEQ2SEQ_GROUPS,
    SEQ2SEQ_MODELS,
    TUNE_KINDS,
)
from experiments.config.options import (
    Config,
    ConfigError,
    RunUnavailableError,
    TrainingError,
    UserError,
    names_in,
)
from experiments.config.programs import (
    JUDGING_FIELDS,
    TRAINING_FIELDS,
    BenchmarkConfig,
    CompareConfig,
    RegisterConfig,
    TuneConfig,
    check_kind,
)
from experiments.config.starters import (
    EvaluateConfig,
    StarterConfig,
)
from experiments.config.training import (
    CnnConfig,
    Seq2SeqConfig,
    TrainConfig,
)

__all__ = [
    "ATTENTIONS",
    "CELLS",
    "CNN_GROUPS",
    "CNN_MODELS",
    "COMPARE_KINDS",
    "DEVICES",
    "IMAGE_DATASETS",
    "JUDGED_TASKS",
    "JUDGING_FIELDS",
    "OPTIMIZERS",
    "POSITIONS",
    "PRECISIONS",
    "PRETRAINED_TASKS",
    "PRUNERS",
    "SAMPLERS",
    "SCHEDULES",
    "SEQ2SEQ_DATASETS",
    "SEQ2SEQ_GROUPS",
    "SEQ2SEQ_MODELS",
    "TRAINING_FIELDS",
    "TUNE_KINDS",
    "BenchmarkConfig",
    "CnnConfig",
    "CompareConfig",
    "Config",
    "ConfigError",
    "EvaluateConfig",
    "RegisterConfig",
    "RunUnavailableError",
    "Seq2SeqConfig",
    "StarterConfig",
    "TrainConfig",
    "TrainingError",
    "TuneConfig",
    "UserError",
    "check_kind",
    "names_in",
]
