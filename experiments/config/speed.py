"""Parameters of the programs that measure speed: benchmark, and the gateway's."""

from typing import Self

from pydantic import model_validator

from experiments.config.names import DEVICES, IMAGE_DATASETS
from experiments.config.options import Config, check_dataset
from experiments.config.training import DATASET_HELP, image_size_option
from tasks.parameters import option


class BenchmarkConfig(Config):
    """Benchmark training: images per second of our loop in every precision and memory format, next to a plain PyTorch
    loop, and, with target_accuracy, the time that each model needs to reach it.
    """

    model: str = option("lenet5", "small, full, or comma-separated names of architectures")
    dataset: str = option("digits", DATASET_HELP, suggestions=IMAGE_DATASETS)
    image_size: int = image_size_option()
    batch_sizes: str = option("64,128,256,512", "comma-separated batch sizes to try; the best for each variant counts")
    seconds: float = option(2.0, "minimum time per measurement; at least 3 batches", gt=0, le=600)
    repeats: int = option(3, "measurements of each setting, interleaved; the median counts", ge=1, le=100)
    target_accuracy: float = option(
        0.0, "train every model with its recipe until validation accuracy reaches this; 0 = off", ge=0, le=1
    )
    target_precision: str = option(
        "auto", "precision for target_accuracy; auto = what training picks here, all = each", choices=("auto", "all")
    )
    target_recipe: str = option(
        "own",
        "recipe for target_accuracy; usual = as in tutorials: SGD 0.1, cosine, crop and flip, DataLoader, fp32",
        choices=("own", "usual", "both"),
    )
    target_epochs: str = option(
        "auto",
        "numbers of epochs to try in turn with our own recipe, such as 4,6,8, until every seed reaches "
        "target_accuracy; auto = the recipe's",
    )
    target_seeds: int = option(1, "number of seeds for target_accuracy", ge=1, le=1000)
    budget_seconds: float = option(
        0.0, "time limit per training run for target_accuracy; 0 = none but its epochs", ge=0
    )
    seed: int = option(0, "first seed for target_accuracy", ge=0, lt=2**31)
    train_size: int = option(0, "number of training images; 0 = all", ge=0)
    device: str = option(
        "auto", "where to train; all = the CPU, then the GPU if there is one", choices=(*DEVICES, "all")
    )
    threads: int = option(0, "CPU threads; 0 = all cores", ge=0, le=1024)
    data_dir: str = option("data", "folder for data sets; missing ones are downloaded there")
    confirm: bool = option(False, "measure even if it is estimated to take longer than 12 hours")

    @model_validator(mode="after")
    def _known_data(self) -> Self:
        check_dataset("dataset", self.dataset, IMAGE_DATASETS)
        return self


class GatewayConfig(Config):
    """Benchmark a gateway that serves SmolLM2-135M-Instruct, next to the bare engine, alone and during training."""

    tokens: int = option(64, "tokens per chat", ge=2, le=1000)
    repeats: int = option(5, "chats of each kind; the median counts", ge=1, le=1000)
    seconds: float = option(10.0, "duration of the chats during training", gt=0, le=600)
    training: bool = option(True, "also measure while a training run uses all cores")
    classifier: bool = option(True, "also measure the sentiment starter: 256 sentences in one call and one by one")
