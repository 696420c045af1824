"""Every parameter of every entry point: default, help text, bounds. Command line, MLproject and UI derive from it.

Of the project only `tasks.parameters` and the table of tasks are imported, so that `--help` and the UI can read this
without loading torch.
"""

from experiments.config.names import (
    ATTENTIONS,
    CELLS,
    CNN_GROUPS,
    CNN_MODELS,
    EVALUATED_TASKS,
    FAMILIES,
    IMAGE_DATASETS,
    IMAGE_SIZE,
    POSITIONS,
    PRETRAINED,
    PRETRAINED_CNNS,
    PRETRAINED_SIZE,
    PRUNERS,
    RANDOM,
    SAMPLERS,
    SCHEDULES,
    SEQ2SEQ_MODELS,
    FamilyNames,
    dataset_name,
    is_own,
)
from experiments.config.options import Config, ConfigError, RunUnavailableError, TrainingError, UserError, names_in
from experiments.config.programs import (
    CompareConfig,
    EvaluateConfig,
    RegisterConfig,
    StarterConfig,
    TuneConfig,
    check_kind,
    check_limit,
    check_tuned_kind,
    training_config,
)
from experiments.config.speed import BenchmarkConfig, GatewayConfig
from experiments.config.training import (
    TEXT_BATCH,
    CnnConfig,
    FinetuneConfig,
    Seq2SeqConfig,
    TrainConfig,
    check_image_size,
    check_weights,
    finetune_epochs,
)
