"""Parameters of the programs that measure speed: benchmark, and the gateway's."""

from typing import Self

from pydantic import model_validator

from experiments.config.names import DEVICES, IMAGE_DATASETS
from experiments.config.options import Config, check_dataset
from experiments.config.training import DATASET_HELP, image_size_option
from tasks.parameters import option


class BenchmarkConfig(Config):
    """Measure training: images per second of our loop in every precision and memory format beside a plain PyTorch loop,
    and, with target_accuracy, the time that each model needs to reach it.
    """

    model: str = option("lenet5", "small, full, or names of architectures separated by commas")
    dataset: str = option("digits", DATASET_HELP, suggestions=IMAGE_DATASETS)
    image_size: int = image_size_option()
    batch_sizes: str = option("64,128,256,512", "batch sizes to try, separated by commas; the best of each way counts")
    seconds: float = option(2.0, "least time of one measurement; 3 batches at least", gt=0, le=600)
    repeats: int = option(3, "measurements of each setting, taken in turns; the median counts", ge=1, le=100)
    target_accuracy: float = option(
        0.0, "train every model by its recipe until validation accuracy reaches this; 0 = off", ge=0, le=1
    )
    target_precision: str = option(
        "auto", "of trainings to target_accuracy; auto = what trainings here take, all = each", choices=("auto", "all")
    )
    target_recipe: str = option(
        "own",
        "of trainings to target_accuracy; usual = what tutorials do: SGD 0.1, cosine, crop and flip, DataLoader, fp32",
        choices=("own", "usual", "both"),
    )
    target_epochs: str = option(
        "auto",
        "lengths of the own schedule to try in turn, such as 4,6,8, until every seed reaches target_accuracy; auto = "
        "the recipe's",
    )
    target_seeds: int = option(1, "number of seeds of the trainings to target_accuracy", ge=1, le=1000)
    budget_seconds: float = option(0.0, "longest training to target_accuracy, a model; 0 = its epochs", ge=0)
    seed: int = option(0, "first seed of the trainings to target_accuracy", ge=0, lt=2**31)
    train_size: int = option(0, "number of training images; 0 = all", ge=0)
    device: str = option(
        "auto", "where to train; all = the CPU, then the GPU where there is one", choices=(*DEVICES, "all")
    )
    threads: int = option(0, "CPU threads; 0 = all cores", ge=0, le=1024)
    data_dir: str = option("data", "folder of the data sets; missing ones are downloaded there")
    confirm: bool = option(False, "measure also what is estimated to take longer than 12 hours")

    @model_validator(mode="after")
    def _known_data(self) -> Self:
        check_dataset("dataset", self.dataset, IMAGE_DATASETS)
        return self


class GatewayConfig(Config):
    """Measure a gateway that serves SmolLM2-135M-Instruct, beside the bare engine, alone and beside a training."""

    tokens: int = option(64, "tokens of a chat", ge=2, le=1000)
    repeats: int = option(5, "chats of each kind; the median counts", ge=1, le=1000)
    seconds: float = option(10.0, "of chats beside a training", gt=0, le=600)
    training: bool = option(True, "measure also beside a training that uses all cores")
    classifier: bool = option(True, "measure also the sentiment starter: 256 sentences in one call and one by one")
