"""Parameters of the trainings of single networks."""

from collections.abc import Sequence
from typing import ClassVar, Self

from pydantic import model_validator

from experiments.config.names import (
    ATTENTIONS,
    CELLS,
    CNN_MODELS,
    CNN_OPTIMIZERS,
    DEVICES,
    FINETUNED_TASKS,
    IMAGE_DATASETS,
    IMAGE_SIZE,
    MEMORY_FORMATS,
    OPTIMIZERS,
    POSITIONS,
    PRECISIONS,
    PRETRAINED_CNNS,
    PRETRAINED_SIZE,
    RANDOM,
    SCHEDULES,
    WEIGHTS,
    dataset_name,
    is_own,
)
from experiments.config.options import Config, ConfigError, check_dataset
from tasks.parameters import option

DATASET_HELP = (
    "image data set (digits needs no download), or the path of your own pictures: folder, zip, or CSV with columns "
    "file,label"
)


def image_size_option() -> int:
    """The field `image_size`."""
    text = "side in pixels to which your own pictures are resized; from 128 up, networks use their paper's stem"
    return option(IMAGE_SIZE, text, ge=32, le=224, multiple_of=32)


def cnn_weights_option() -> str:
    """The field `weights` of programs that train CNNs."""
    text = (
        "initial weights; pretrained = ImageNet weights from the Hub, for VGG, ResNet, SE-ResNet-50 and SENet-154 on "
        f"your own pictures of {PRETRAINED_SIZE} px or more"
    )
    return option(RANDOM, text, choices=WEIGHTS)


class TrainConfig(Config):
    """What every training shares.

    A default of None is written `auto` on the command line: the recipe for the model and data set decides it before
    anything else sees the configuration.

    Attributes:
        of_images: whether the network takes images, whose format in memory can be chosen.
    """

    of_images: ClassVar[bool] = False

    seed: int = option(0, "seed for weights, data order, augmentation and dropout", ge=0, lt=2**31)
    epochs: int = option(None, "passes over the training data", ge=1, le=100_000)
    batch_size: int = option(None, "examples per optimizer step, over all processes", ge=1)
    learning_rate: float = option(None, "peak learning rate of the schedule", gt=0, le=100)
    weight_decay: float = option(None, "weight decay; norms and biases are exempt", ge=0, lt=1)
    optimizer: str = option(None, "sgd (Nesterov momentum 0.9) or adamw", choices=OPTIMIZERS)
    schedule: str = option(None, "learning rate schedule, applied per step", choices=SCHEDULES)
    warmup: float = option(None, "fraction of all steps with a rising learning rate", ge=0, lt=1)
    grad_clip: float = option(None, "maximum gradient norm; 0 = no clipping", ge=0)
    ema_decay: float = option(None, "decay of the moving average of weights used in evaluation; 0 = off", ge=0, lt=1)
    device: str = option("auto", "where to train", choices=DEVICES)
    precision: str = option("auto", "compute precision; auto = the fastest in a short trial", choices=PRECISIONS)
    memory_format: str = option(
        "auto", "memory layout of images; auto = the fastest in a short trial", choices=MEMORY_FORMATS
    )
    threads: int = option(0, "CPU threads; 0 = all, or one where that is faster in a short trial", ge=0, le=1024)
    resume: str = option("none", "id of an unfinished run to resume")
    register: bool = option(True, "register the trained model, and make it champion if it is the best in validation")


class CnnConfig(TrainConfig):
    """Train one convolutional network on one image data set."""

    of_images: ClassVar[bool] = True

    optimizer: str = option(
        None, "sgd (Nesterov momentum 0.9), adamw, or muon (SGD with orthogonalized steps)", choices=CNN_OPTIMIZERS
    )
    model: str = option("lenet5", "architecture", choices=CNN_MODELS)
    dataset: str = option("digits", DATASET_HELP, suggestions=IMAGE_DATASETS)
    image_size: int = image_size_option()
    weights: str = cnn_weights_option()
    revision: str = option(None, "commit, tag or branch of the pretrained weights; auto = the catalog's")
    freeze_epochs: int = option(
        None,
        "number of first epochs with the pretrained layers frozen and only the new last one trained; auto = a fifth",
        ge=0,
    )
    trunk_learning_rate: float = option(
        None,
        "learning rate of the pretrained layers afterward, as a fraction of learning_rate",
        gt=0,
        le=1,
    )
    label_smoothing: float = option(None, "fraction of the target spread over all classes", ge=0, lt=1)
    crop: int = option(None, "maximum random shift in pixels, in each direction; 0 = off", ge=0, le=16)
    flip: bool = option(None, "mirror every image in every other epoch")
    cutout: int = option(None, "side of a random square set to zero; 0 = off", ge=0, le=224)
    small_size: int = option(
        None, "side in pixels to which training images are shrunk in the first small_epochs; 0 = off", ge=0, le=224
    )
    small_epochs: int = option(None, "number of first epochs trained on images of small_size", ge=0)
    train_size: int = option(0, "number of training images; 0 = all", ge=0)
    val_size: int = option(None, "validation images; auto = 10 % of the training data, at least 200", ge=1)
    split_seed: int = option(0, "seed for the train/validation split, separate from `seed`", ge=0, lt=2**31)
    data_dir: str = option("data", "folder for data sets; missing ones are downloaded there")

    @property
    def data_name(self) -> str:
        """What the data set is called, such as `digits`, or `flowers` for own pictures under `photos/flowers`."""
        return dataset_name(self.dataset)

    @model_validator(mode="after")
    def _known_data(self) -> Self:
        check_dataset("dataset", self.dataset, IMAGE_DATASETS)
        return self


def check_image_size(size: int, datasets: Sequence[str]) -> None:
    """Raise ConfigError for a size that none of the data sets is served in."""
    if size != IMAGE_SIZE and not any(map(is_own, datasets)):
        raise ConfigError(
            f"image_size is {size}; valid: {IMAGE_SIZE} for {', '.join(datasets)}; other sizes are for your own "
            "pictures (dataset=PATH)"
        )


def check_weights(config: CnnConfig) -> None:
    """Raise ConfigError for pretrained weights that there are not, and for their settings without them."""
    if config.weights == RANDOM:
        for name, without in (("freeze_epochs", 0), ("trunk_learning_rate", 1.0), ("revision", None)):
            value = getattr(config, name)
            if value not in (None, without):
                raise ConfigError(f"{name} is {value!r}, which is for weights=pretrained; valid: auto")
        return
    if config.model not in PRETRAINED_CNNS:
        raise ConfigError(
            f"weights is {config.weights!r}, and there are none of {config.model}; valid: random, or model="
            + ", ".join(PRETRAINED_CNNS)
        )
    if not is_own(config.dataset) or config.image_size < PRETRAINED_SIZE:
        raise ConfigError(
            f"weights is {config.weights!r}, for pictures of {PRETRAINED_SIZE} px or more, and those of "
            f"{config.data_name} are {config.image_size} px; valid: random, or your own pictures (dataset=PATH) with "
            f"image_size={PRETRAINED_SIZE} or more"
        )


class Seq2SeqConfig(TrainConfig):
    """Train one encoder-decoder with attention to reverse sequences of integers."""

    attention: str = option("dot", "attention mechanism of a recurrent decoder", choices=ATTENTIONS)
    cell: str = option("gru", "layer type of encoder and decoder", choices=CELLS)
    positions: str = option("sinusoidal", "positional encoding of a Transformer", choices=POSITIONS)
    vocab_size: int = option(50, "number of symbols", ge=2, le=100_000)
    min_length: int = option(1, "shortest sequence", ge=1, le=1000)
    max_length: int = option(20, "longest sequence in training", ge=1, le=1000)
    hidden_size: int = option(64, "width of the hidden states", ge=4, le=4096)
    layers: int = option(None, "number of layers in the encoder, and in the decoder", ge=1, le=24)
    dropout: float = option(0.0, "fraction of hidden values set to zero during training", ge=0, lt=1)
    teacher_forcing: float = option(
        None, "fraction of true tokens among the decoder's inputs in the last epoch; it falls from 1", ge=0, le=1
    )
    stop_at: float = option(
        1.0, "stop training when this fraction of validation sequences is reversed correctly; 0 = never", ge=0, le=1
    )
    beam_width: int = option(1, "hypotheses kept while decoding test sequences; 1 = greedy", ge=1, le=64)
    train_size: int = option(20_000, "training sequences", ge=1, le=10_000_000)
    val_size: int = option(1000, "validation sequences", ge=1, le=1_000_000)
    test_size: int = option(2000, "test sequences", ge=1, le=1_000_000)
    probe_size: int = option(500, "test sequences for each length, up to 5 times max_length", ge=1, le=100_000)
    split_seed: int = option(0, "seed for the sequences, separate from `seed`", ge=0, lt=2**31)

    @property
    def model(self) -> str:
        """The variant in a word, such as `gru-dot` or `transformer-rotary`."""
        return f"{self.cell}-{self.positions if self.cell == 'transformer' else self.attention}"


TEXT_BATCH, TEXT_STEPS, FEWEST_EPOCHS, MOST_EPOCHS = 16, 250, 3, 40


def finetune_epochs(texts: int) -> int:
    """The default number of epochs of a fine-tuning on this number of texts: about 250 steps."""
    return min(max(-(-TEXT_STEPS * min(TEXT_BATCH, texts) // texts), FEWEST_EPOCHS), MOST_EPOCHS)


class FinetuneConfig(TrainConfig):
    """Fine-tune a pretrained model on your own labeled texts: a file with a text and its label in each row."""

    task: str = option(
        "sentiment-analysis",
        "task of the fine-tuned model: text classification, with any number of classes",
        choices=FINETUNED_TASKS,
    )
    data: str = option("none", "file of labeled texts: CSV, TSV or JSONL")
    model: str = option(
        "auto",
        "model to start from: a name in the catalog (tasks/catalog.yaml), an id on the Hub, or a folder; auto = the "
        "starter that comes with the project",
    )
    text: str = option("text", "column with the texts")
    label: str = option("label", "column with the labels")
    split: str = option(
        "none", "column that says train, val or test for each row; none = 70/10/20, stratified by class"
    )
    merge_labels: bool = option(False, "treat labels that differ only by case or blanks as one")
    revision: str = option(None, "commit, tag or branch on the Hub; auto = the catalog's, or main")
    weights: str = option(
        "pretrained", "the model's own, or random ones for the same network, for comparison", choices=WEIGHTS
    )
    max_tokens: int = option(
        None,
        "maximum tokens per text in training; the rest is cut off; auto = the model's limit, at most 256",
        ge=8,
    )
    patience: int = option(
        None,
        "stop after this number of epochs without a better validation result; 0 = never; auto = a quarter of the "
        "epochs, at least 3",
        ge=0,
        le=100_000,
    )
    balance: bool = option(
        None,
        "weight each class by how rare it is; auto = if the largest has more than 3 times the rows of the smallest",
    )
    train_size: int = option(0, "number of training texts; 0 = all", ge=0)
    split_seed: int = option(0, "seed for the split, separate from `seed`", ge=0, lt=2**31)
    champion: bool = option(
        None,
        "make the version champion, which the tool and the serve command use; auto = if it is the first, or better "
        "than the champion on the same data",
    )
