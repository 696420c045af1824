"""The starter for image generation: a small Stable Diffusion of digits and clothes, how it is trained and saved.

The autoencoder is learned at the beginning of the first epoch and then belongs to the network's weights, so that a
resumed training resumes the very one that it began with.
"""

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import transformers
from accelerate import Accelerator
from PIL import Image
from torch import nn

from experiments.config import ConfigError, StarterConfig
from experiments.data.images import ImageData, Subset
from experiments.reports import figures
from experiments.starters.pictures import network as networks
from experiments.starters.pictures.data import (
    PictureBatch,
    PictureBatches,
    enlarged,
    first_of_each,
    load_pictures,
    reduced,
    seen,
)
from experiments.starters.pictures.evaluation import (
    draw_classes,
    evaluate,
    evaluate_pipeline,
    fraction_right,
    look,
    train_classifier,
)
from experiments.starters.pictures.network import STEPS, PictureNetwork, make_pipeline
from experiments.starters.pictures.words import CLASSES, make_tokenizer, named, read_prompts, understood_words
from experiments.starters.starter import Starter, StarterRecipe
from experiments.starters.weights import shrink
from experiments.training import devices
from experiments.training.family import DataIdentity, Family, Result, SavedModel, Training
from experiments.training.state import Metrics, StepResult, starting_state
from tasks.image_generation import DEFAULTS_FILE, WORDS

TASK, NAME = "image-generation", "starter-image-generation"
CRITIC_SEED, CRITIC_EPOCHS = 101, 6
# Drawn of each class after each epoch, with these seeds upwards; pictures of each class for the loss and the critic.
DRAWN, DRAWN_SEED = 15, 500_000
MEASURED, UNSEEN_BY_CRITIC = 100, 100
SAMPLES = 10  # pictures of each class in the figure: the first ones, unselected
WEIGHTS = ("vae/diffusion_pytorch_model", "unet/diffusion_pytorch_model", "text_encoder/model")
# On one core of a server CPU with bf16 instructions: eight minutes for the autoencoder, two for an epoch.
RECIPE = StarterRecipe(epochs=12, batch_size=64, learning_rate=1.5e-3, schedule="cosine", warmup=0.03, ema_decay=0.998)
# The model's own settings, chosen among seven by the critic's fraction of pictures that show what was asked for, and by
# the Fréchet distance to validation pictures in its features. More guidance draws the same few pictures of each class
# again and again; beyond 2 it hardly makes them clearer. 8 and 20 steps draw as well.
#   guidance   1      1.5    2      3      4      2, 8 steps   2, 20 steps
#   fraction   0.843  0.915  0.935  0.940  0.945  0.935        0.932
#   distance   4.9    11.6   21.8   38.7   51.1   23.6         21.1
DRAWING_STEPS, GUIDANCE = 12, 2.0


@dataclass
class PictureTraining(Training):
    """One training of the picture model, ready to run on this process."""

    config: StarterConfig
    data: ImageData
    tokenizer: Any
    critic: nn.Module
    critic_accuracy: float

    selected_by: ClassVar[str] = "val_accuracy"
    columns: ClassVar[tuple[str, ...]] = ("loss", "accuracy")

    @property
    def identity(self) -> DataIdentity:
        data = self.data
        return DataIdentity(data.name, data.origin, data.sha256, data.split_sha256, data.verified)

    @property
    def title(self) -> str:
        return f"pictures of digits and clothes, seed {self.config.seed}"

    def tags(self) -> dict[str, str]:
        return {"task": TASK, "model": NAME, "dataset": self.data.name}

    def summary(self) -> str:
        sizes = ", ".join(
            f"{name} {sum(value.numel() for value in part.parameters()):,}"
            for name, part in self.state.network.named_children()
        )
        return (
            f"picture model (parameters: {sizes}; {len(self.tokenizer):,} tokens) on {len(self.data.train):,} pictures "
            f"of {len(CLASSES)} classes, {len(self.batches):,} steps an epoch; the critic knows "
            f"{self.critic_accuracy:.1%} of pictures that it has not seen"
        )

    def step(self, model: nn.Module, batch: PictureBatch) -> StepResult:
        count, latents = len(batch.latents), batch.latents
        # One from each of equal parts of the schedule: the loss of a batch varies less than with independent ones.
        even = (torch.arange(count) + torch.rand(count)) / count
        timesteps = (even * STEPS).long().clamp_max(STEPS - 1).to(latents.device)
        noise = torch.randn(latents.shape).to(latents.device)
        errors = model(latents, noise, timesteps, batch.tokens, batch.prompts)
        return StepResult(errors.sum(), {}, batch.total)

    def evaluate(self, network: Any) -> Metrics:
        """The loss on validation pictures, and the fraction of drawn pictures that the critic knows."""
        with self.state.accelerator.autocast():
            pipeline = make_pipeline(network, self.tokenizer)
            drawn, labels = draw_classes(pipeline, DRAWN, DRAWN_SEED, DRAWING_STEPS, GUIDANCE)
        measured = first_of_each(self.data.val, MEASURED)
        again = networks.restored(network.vae, measured.images, self.config.precision)
        return {
            "loss": self.loss(network, measured),
            "accuracy": fraction_right(look(self.critic, reduced(drawn))[0].cpu(), labels),
            "reconstruction_psnr": networks.signal_to_noise(enlarged(measured.images), again),
        }

    @torch.no_grad()
    def loss(self, network: Any, data: Subset) -> float:
        """The mean error over pictures with their plainest prompt, at fixed noise and evenly spread steps."""
        generator = torch.Generator().manual_seed(0)
        latents = networks.encode(network.vae, data.images, self.config.precision)
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
    """The configuration with every `auto` decided but those that `training.autotune` settles."""
    return devices.placed(config).filled(dataclasses.asdict(RECIPE))


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
    accuracy = fraction_right(look(critic, seen(unseen.images))[0], unseen.labels)
    tokenizer = make_tokenizer()
    torch.manual_seed(config.seed)
    network = PictureNetwork(tokenizer)
    latents = _latents(network, data.train.images, config)
    processes = accelerator.process_index, accelerator.num_processes
    batches = PictureBatches(latents, data.train.labels.cpu(), tokenizer, config.batch_size, config.seed, *processes)
    state = starting_state(config, accelerator, network, len(batches))
    environment = devices.environment(config, accelerator.num_processes)
    return PictureTraining(config, batches, state, environment, data, tokenizer, critic, accuracy)


def _latents(network: PictureNetwork, images: torch.Tensor, config: StarterConfig) -> Callable[[int], torch.Tensor]:
    """A function that gives the latents of all pictures `(n, 4, 8, 8)` at the beginning of an epoch.

    The autoencoder is learned when the first one begins.
    """
    kept: list[torch.Tensor] = []

    def latents(epoch: int) -> torch.Tensor:
        if epoch == 1:
            learned = networks.train_autoencoder(images, config.seed, config.precision)
            network.vae.load_state_dict(learned.state_dict())
        if not kept:
            kept.append(networks.encode(network.vae, images, config.precision))
        return kept[0]

    return latents


def test(training: PictureTraining, network: Any, best: int, folder: Path) -> Metrics:
    """Let the judge see what the kept network draws; write figures and a report."""
    judged = evaluate_pipeline(
        make_pipeline(network.eval(), training.tokenizer), training.data, DRAWING_STEPS, GUIDANCE
    )
    loss = training.loss(network, training.data.test)
    plots, title, history = folder / "plots", training.title, training.state.history
    figures.save_curves(plots / "loss_curve.png", history, "loss", title, best, loss)
    figures.save_validation(plots / "accuracy_curve.png", history, ["accuracy"], f"{title}: known to the critic", best)
    save_samples(plots / "samples.png", judged.drawn)
    (folder / "reports").mkdir(parents=True)
    (folder / "reports/classes.md").write_text(f"{judged.table}\n", encoding="utf-8")
    return {
        "test_loss": loss,
        "test_accuracy": judged.recognized,
        "test_frechet_distance": judged.distance,
        "test_frechet_distance_of_real": judged.distance_of_real,
        "test_judge_accuracy": judged.own_accuracy,
    }


def save_samples(path: Path, drawn: torch.Tensor) -> None:
    """The first pictures of each class, two classes in a row: digits on the left, things on the right."""
    grid = drawn.view(len(CLASSES), -1, *drawn.shape[2:])[:, :SAMPLES]
    rows = grid.permute(0, 2, 1, 3).flatten(2)  # (classes, 64, 10 x 64)
    digits, things = (part.flatten(0, 1) for part in rows.chunk(2))
    pixels = torch.cat([digits, torch.ones(len(digits), 16), things], dim=1).add(1).mul(127.5).clamp(0, 255).byte()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.numpy()).save(path)


def save_model(training: PictureTraining, network: Any, folder: Path) -> SavedModel:
    """Write a Stable Diffusion folder that diffusers loads, its numbers in two bytes each, with the settings that the
    tool takes from it."""
    transformers.utils.logging.disable_progress_bar()
    network.text_encoder.config.dtype = torch.float32
    make_pipeline(network, training.tokenizer).save_pretrained(folder)
    training.tokenizer.backend_tokenizer.model.save(str(folder / "tokenizer"))  # for older tools
    for name in WEIGHTS:
        shrink(folder / f"{name}.safetensors")
    defaults = {"steps": DRAWING_STEPS, "guidance": GUIDANCE, WORDS: understood_words()}
    (folder / DEFAULTS_FILE).write_text(json.dumps(defaults, indent=1) + "\n")
    params = {"seed": training.config.seed, "epochs": len(training.state.history)}
    return SavedModel(TASK, NAME, TASK, {"prompt": "a sneaker"}, params)


def describe(training: PictureTraining, result: Result) -> str:
    """The run's description for its MLflow page."""
    metrics, batches = result.metrics, training.batches
    assert isinstance(batches, PictureBatches)
    return f"""**{result.name}**: **{metrics["test_accuracy"]:.1%}** of drawn pictures are recognized as what was \
asked for, by a judge that knows {metrics["test_judge_accuracy"]:.1%} of real test pictures and had no part in the \
training. Fréchet distance {metrics["test_frechet_distance"]:.1f} in the judge's features.

Epoch {result.best_epoch} of {len(training.state.history)} was kept: there the critic, another classifier, knew \
{metrics["val_accuracy"]:.1%} of drawn pictures. An epoch is {batches.pictures:,} pictures; the first one's \
time holds the training of the autoencoder, which restores validation pictures at \
{metrics["val_reconstruction_psnr"]:.1f} dB.

Where to look: *Model metrics* for the curves; artifacts `plots/samples.png` (the first pictures of each class, \
unselected), `plots/` (curves), `reports/` (by class), `config.json`, `checkpoints/`. Registry: {result.registry}.
"""


STARTER = Starter("image-generation", TASK, Family("starter", decide, prepare, test, save_model, describe), evaluate)
