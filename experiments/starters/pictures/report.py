"""What is reported at the end of a training of the picture model, and the model's folder."""

import json
from pathlib import Path

import torch
import transformers
from PIL import Image
from torch import nn

from experiments.starters.pictures.batches import PictureBatches
from experiments.starters.pictures.drawing import DRAWING_STEPS, GUIDANCE
from experiments.starters.pictures.judging import Judged, class_table, judge_pipeline
from experiments.starters.pictures.network import PictureNetwork, make_pipeline
from experiments.starters.pictures.setup import PictureTraining
from experiments.starters.weights import shrink
from experiments.training import figures as plots
from experiments.training.family import Result, SavedModel
from experiments.training.state import Metrics
from tasks.image_generation import DEFAULTS_FILE

NAME = "starter-image-generation"
SAMPLES = 10  # pictures of each class in the figure: the first ones, unselected
WEIGHTS = ("vae/diffusion_pytorch_model", "unet/diffusion_pytorch_model", "text_encoder/model")


def test(training: PictureTraining, network: nn.Module, best: int, folder: Path) -> Metrics:
    """Let the judge see what the kept network draws; write figures and a report."""
    assert isinstance(network, PictureNetwork)
    network.eval()
    judged = judge_pipeline(make_pipeline(network, training.tokenizer), training.data, DRAWING_STEPS, GUIDANCE)
    loss = training.loss(network, training.data.test)
    figures, title, history = folder / "plots", training.title, training.state.history
    plots.save_curves(figures / "loss_curve.png", history, "loss", title, best, loss)
    plots.save_validation(figures / "accuracy_curve.png", history, ["accuracy"], f"{title}: known to the critic", best)
    save_samples(figures / "samples.png", judged)
    reports = folder / "reports"
    reports.mkdir(parents=True)
    report = {
        "share recognised by the judge": judged.recognised,
        "the judge's accuracy on test pictures": judged.own_accuracy,
        "frechet distance": judged.distance,
        "frechet distance of training pictures": judged.distance_of_real,
        "recognised by class": dict(zip(judged.classes, judged.by_class, strict=True)),
        "the critic's accuracy on pictures that it has not seen": training.critic_accuracy,
    }
    (reports / "pictures_report.json").write_text(json.dumps(report, indent=1))
    (reports / "classes.md").write_text(class_table(judged) + "\n")
    return {
        "test_loss": loss,
        "test_accuracy": judged.recognised,
        "test_frechet_distance": judged.distance,
        "test_judge_accuracy": judged.own_accuracy,
    }


def save_samples(path: Path, judged: Judged) -> None:
    """The first pictures of each class, two classes in a row: digits on the left, things on the right."""
    count, classes = len(judged.drawn) // len(judged.classes), len(judged.classes)
    grid = judged.drawn.view(classes, count, *judged.drawn.shape[2:])[:, :SAMPLES]
    rows = grid.permute(0, 2, 1, 3).flatten(2)  # (classes, 64, 10 x 64)
    digits, things = rows[: classes // 2].flatten(0, 1), rows[classes // 2 :].flatten(0, 1)
    gap = torch.ones(len(digits), 16)
    pixels = torch.cat([digits, gap, things], dim=1).add(1).mul(127.5).clamp(0, 255).byte()
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.cpu().numpy()).save(path)


def save_model(training: PictureTraining, network: nn.Module, folder: Path) -> SavedModel:
    """Write the network as a Stable Diffusion folder, its numbers in two bytes each."""
    assert isinstance(network, PictureNetwork)
    save_pipeline(network, training.tokenizer, folder)
    return SavedModel(
        task=training.config.task,
        name=NAME,
        registered_name=training.config.task,
        input_example={"prompt": "a sneaker"},
        params={"seed": training.config.seed, "epochs": len(training.state.history)},
    )


def save_pipeline(network: PictureNetwork, tokenizer: transformers.CLIPTokenizer, folder: Path) -> None:
    """Write a folder that diffusers loads, with the settings that the tool takes from it."""
    transformers.utils.logging.disable_progress_bar()
    network.text_encoder.config.dtype = torch.float32
    make_pipeline(network, tokenizer).save_pretrained(folder)
    tokenizer.backend_tokenizer.model.save(str(folder / "tokenizer"))  # vocab.json and merges.txt, for older tools
    for name in WEIGHTS:
        shrink(folder / f"{name}.safetensors", "fp16")
    defaults = {"steps": DRAWING_STEPS, "guidance": GUIDANCE}
    (folder / DEFAULTS_FILE).write_text(json.dumps(defaults, indent=1) + "\n")


def describe(training: PictureTraining, result: Result) -> str:
    """The run's description for its MLflow page."""
    metrics, batches = result.metrics, training.batches
    assert isinstance(batches, PictureBatches)
    return f"""**{result.name}**: **{metrics["test_accuracy"]:.1%}** of drawn pictures are recognised as what was \
asked for, by a judge that knows {metrics["test_judge_accuracy"]:.1%} of real test pictures and had no part in the \
training. Fréchet distance {metrics["test_frechet_distance"]:.1f} in the judge's features.

Epoch {result.best_epoch} of {len(training.state.history)} was kept: there the critic, another classifier, knew \
{metrics["val_accuracy"]:.1%} of drawn pictures. An epoch is {batches.pictures:,} pictures; the first one's \
time holds the training of the autoencoder, which restores validation pictures at \
{metrics["val_reconstruction_psnr"]:.1f} dB.

Where to look: *Model metrics* for the curves; artifacts `plots/samples.png` (the first pictures of each class, \
unselected), `plots/` (curves), `reports/` (by class), `config.json`, `checkpoints/`. Registry: {result.registry}.
"""
