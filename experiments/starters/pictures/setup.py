"""A training of the picture model made ready: configuration decided, pictures read, network and optimizer set up.

The autoencoder is learned at the beginning of the first epoch and then belongs to the network's weights, so that a
resumed training resumes the very one that it began with.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from accelerate import Accelerator
from torch import nn

from experiments.config import ConfigError, StarterConfig
from experiments.data.images import Subset
from experiments.starters.pictures import autoencoder
from experiments.starters.pictures.batches import Batch, PictureBatches
from experiments.starters.pictures.classifier import look, look_at, share, train_classifier
from experiments.starters.pictures.data import PictureData, first_of_each, load_pictures, reduced
from experiments.starters.pictures.judging import DRAWING_STEPS, GUIDANCE, draw_pictures
from experiments.starters.pictures.network import STEPS, PictureNetwork, make_pipeline, read_prompts
from experiments.starters.pictures.vocabulary import CLASSES, judged_prompts, make_tokenizer, named
from experiments.training import devices
from experiments.training.family import DataIdentity, Training
from experiments.training.state import Metrics, StepResult, starting_state

NAME = "mnist-and-fashion-mnist"
CRITIC_SEED, CRITIC_EPOCHS = 101, 6
# Drawn of each class after each epoch, with these seeds upwards; pictures of each class for the loss and the critic.
DRAWN, DRAWN_SEED = 15, 500_000
MEASURED, UNSEEN_BY_CRITIC = 100, 100


@dataclass(frozen=True)
class Recipe:
    """How the picture model is trained unless a person says otherwise. An epoch is 18,000 pictures."""

    epochs: int = 12
    batch_size: int = 64
    optimizer: str = "adamw"
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.01
    schedule: str = "cosine"
    warmup: float = 0.03
    grad_clip: float = 1.0
    ema_decay: float = 0.998


# On one core of a server CPU with bf16 instructions: eight minutes for the autoencoder, two for an epoch.
RECIPE = Recipe()


@dataclass
class PictureTraining(Training):
    """One training of the picture model, ready to run on this process."""

    config: StarterConfig
    data: PictureData
    tokenizer: Any
    critic: nn.Module
    critic_accuracy: float
    _measured: Subset = field(init=False)

    selected_by: ClassVar[str] = "val_accuracy"
    columns: ClassVar[tuple[str, ...]] = ("loss", "accuracy")

    def __post_init__(self) -> None:
        self._measured = first_of_each(self.data.val, MEASURED)

    @property
    def identity(self) -> DataIdentity:
        data = self.data
        return DataIdentity(NAME, self.config.data_dir, data.sha256, data.split_sha256, data.verified)

    @property
    def title(self) -> str:
        return f"pictures of digits and clothes, seed {self.config.seed}"

    def tags(self) -> dict[str, str]:
        return {"task": self.config.task, "model": "starter-image-generation", "dataset": NAME}

    def summary(self) -> str:
        network, data = self.state.network, self.data
        sizes = ", ".join(
            f"{name} {sum(value.numel() for value in part.parameters()):,}" for name, part in network.named_children()
        )
        return (
            f"picture model (parameters: {sizes}; {len(self.tokenizer):,} tokens) on {len(data.train):,} pictures of "
            f"{len(CLASSES)} classes, {len(self.batches):,} steps an epoch; the critic knows "
            f"{self.critic_accuracy:.1%} of pictures that it has not seen"
        )

    def step(self, model: nn.Module, batch: Batch) -> StepResult:
        count, latents = len(batch.latents), batch.latents
        # One from each of equal parts of the schedule: the loss of a batch varies less than with independent ones.
        even = (torch.arange(count) + torch.rand(count)) / count
        timesteps = (even * STEPS).long().clamp_max(STEPS - 1).to(latents.device)
        noise = torch.randn(latents.shape).to(latents.device)
        errors = model(latents, noise, timesteps, batch.tokens, batch.prompts)
        return StepResult(errors.sum(), {}, batch.total)

    def evaluate(self, network: nn.Module) -> Metrics:
        """The loss on validation pictures, and the share of drawn pictures that the critic knows."""
        assert isinstance(network, PictureNetwork)
        prompts = [prompt for label in range(len(CLASSES)) for prompt in judged_prompts(label, DRAWN)]
        labels = torch.arange(len(CLASSES)).repeat_interleave(DRAWN)
        with self.state.accelerator.autocast():
            pipeline = make_pipeline(network, self.tokenizer)
            drawn = draw_pictures(pipeline, prompts, DRAWN_SEED, DRAWING_STEPS, GUIDANCE)
        said = look(self.critic, reduced(drawn)).classes.cpu()
        pictures = self._measured.images
        again = autoencoder.restored(network.vae, pictures, self.config.precision)
        return {
            "loss": self.loss(network, self._measured),
            "accuracy": share(said, labels),
            "reconstruction_psnr": autoencoder.signal_to_noise(autoencoder.enlarged(pictures), again),
        }

    @torch.no_grad()
    def loss(self, network: PictureNetwork, data: Subset) -> float:
        """The mean error over pictures with their plainest prompt, at fixed noise and evenly spread steps."""
        generator = torch.Generator().manual_seed(0)
        latents = autoencoder.encode(network.vae, data.images, self.config.precision)
        noise = torch.randn(latents.shape, generator=generator).to(latents.device)
        spread = torch.randperm(len(data), generator=generator).to(latents.device)
        timesteps = (spread * STEPS).div(len(data), rounding_mode="floor")
        tokens, rows = read_prompts(self.tokenizer, [named(label) for label in range(len(CLASSES))])
        tokens, rows = tokens.to(latents.device), rows.to(latents.device)
        total = 0.0
        for index in torch.arange(len(data), device=latents.device).split(500):
            prompts = rows[data.labels[index]]
            with self.state.accelerator.autocast():
                errors = network(latents[index], noise[index], timesteps[index], tokens, prompts)
            total += errors.sum().item()
        return total / len(data)


def decide(config: StarterConfig) -> StarterConfig:
    """The configuration with every `auto` decided for this machine, and its thread count in force."""
    return devices.settled(config).filled(dataclasses.asdict(RECIPE))


def prepare(config: StarterConfig, accelerator: Accelerator) -> PictureTraining:
    """Read the pictures, train the critic, set up network, optimizer and batches. Raises UserError for what does not
    fit."""
    data = load_pictures(config.data_dir, config.train_size, accelerator.device)
    if not accelerator.num_processes <= config.batch_size <= len(data.train):
        raise ConfigError(
            f"batch_size is {config.batch_size}; valid: {accelerator.num_processes} to {len(data.train)}, the training "
            "pictures"
        )
    critic = train_classifier(data.val, CRITIC_EPOCHS, CRITIC_SEED)
    unseen = first_of_each(data.train, UNSEEN_BY_CRITIC)
    accuracy = share(look_at(critic, unseen.images).classes, unseen.labels)
    tokenizer = make_tokenizer()
    torch.manual_seed(config.seed)
    network = PictureNetwork(tokenizer)
    latents = LatentSource(data.train, config)
    batches = PictureBatches(
        latents,
        data.train.labels.cpu(),
        tokenizer,
        config.batch_size,
        seed=config.seed,
        rank=accelerator.process_index,
        world_size=accelerator.num_processes,
    )
    state = starting_state(config, accelerator, network, len(batches))
    latents.network = state.network
    environment = devices.environment(config.device, config.precision, accelerator.num_processes)
    return PictureTraining(config, batches, state, environment, data, tokenizer, critic, accuracy)


class LatentSource:
    """The latents of the training pictures, by an autoencoder that is learned when the first epoch begins."""

    def __init__(self, data: Subset, config: StarterConfig) -> None:
        self.data = data
        self.config = config
        self.network: nn.Module | None = None
        self._latents: torch.Tensor | None = None

    def __call__(self, epoch: int) -> torch.Tensor:
        """Those of all pictures `(n, 4, 8, 8)`, at the beginning of an epoch."""
        assert self.network is not None
        vae, precision = self.network.vae, self.config.precision
        assert isinstance(vae, autoencoder.AutoencoderKL)
        if epoch == 1:
            learned = autoencoder.train_autoencoder(self.data, self.config.seed, precision)
            vae.load_state_dict(learned.state_dict())
        if self._latents is None:
            self._latents = autoencoder.encode(vae, self.data.images, precision)
        return self._latents
