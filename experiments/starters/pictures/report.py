"""What is reported at the end of a training of the picture model, and the model's folder."""

import json
from pathlib import Path

import torch
import transformers
from PIL import Image
from torch import nn

from experiments.config import StarterConfig
from experiments.starters.pictures.batches import PictureBatches
from experiments.starters.pictures.judging import DRAWING_STEPS, GUIDANCE, Judged, class_table, judge, judge_pipeline
from experiments.starters.pictures.network import PictureNetwork, make_pipeline
from experiments.starters.pictures.setup import PictureTraining, decide, prepare
from experiments.starters.pictures.vocabulary import understood_words
from experiments.starters.starter import Starter
from experiments.starters.weights import shrink
from experiments.training import figures as plots
from experiments.training.family import Family, Result, SavedModel
from experiments.training.state import Metrics
from tasks.image_generation import DEFAULTS_FILE, WORDS

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
        "share recognized by the judge": judged.recognized,
        "the judge's accuracy on test pictures": judged.own_accuracy,
        "frechet distance": judged.distance,
        "frechet distance of training pictures": judged.distance_of_real,
        "recognized by class": dict(zip(judged.classes, judged.by_class, strict=True)),
        "the critic's accuracy on pictures that it has not seen": training.critic_accuracy,
    }
    (reports / "pictures_report.json").write_text(json.dumps(report, indent=1))
    (reports / "classes.md").write_text(class_table(judged) + "\n")
    return {
        "test_loss": loss,
        "test_accuracy": judged.recognized,
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
    defaults = {"steps": DRAWING_STEPS, "guidance": GUIDANCE, WORDS: understood_words()}
    (folder / DEFAULTS_FILE).write_text(json.dumps(defaults, indent=1) + "\n")


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


ABOUT = """\
## What it is

A small Stable Diffusion: it draws gray pictures of 64 x 64 pixels of a handwritten digit or of one of ten kinds of \
clothes, shoes and bags. Its parts are of the same classes as those of the large ones, so that any tool that loads a \
`StableDiffusionPipeline` can use the folder: a text encoder (`CLIPTextModel`, two layers of width 64) with a \
tokenizer of its own, a denoiser (`UNet2DConditionModel`, 2.2 million parameters) for latents of 4 x 8 x 8, an \
autoencoder (`AutoencoderKL`, 0.4 million), a DDIM scheduler (velocities, cosine schedule, trailing steps). There is \
no safety checker: it can draw nothing that one could find. Guidance, negative prompts and starting from a picture \
work as usual. Beside the parts lies `generation_defaults.json` with the steps and the guidance that suit it, which \
the tool of this project takes; in diffusers give them as `num_inference_steps` and `guidance_scale`.

It is there so that everything works on the first day and without a network; for anything else choose a larger model.

Words that it knows: `zero` to `nine` and `0` to `9` (a digit, a number, a figure, a numeral, handwritten); t-shirt, \
tee, top; pair of trousers, pants, jeans; pullover, sweater, jumper, sweatshirt; dress, gown, frock; coat, jacket, \
overcoat; sandal; shirt, blouse; sneaker, trainer, running shoe, sports shoe; bag, handbag, purse, tote \
bag; ankle boot, boot. For `a digit`, `a shoe`, `clothes` or `something to wear` it draws any of them. A prompt has \
up to 30 tokens: a known word is one, an unknown word one for almost every letter.

## Data and licenses

- MNIST (LeCun, Cortes and Burges, `ylecun/mnist`): CC BY-SA 3.0. 54,000 of its 60,000 training pictures for \
training, 6,000 for validation; its 10,000 test pictures were used for measuring only.
- Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, `zalandoresearch/fashion_mnist`): MIT. The same numbers.

The published 28 x 28 pixels are framed to 32 x 32 and enlarged to 64 x 64. Prompts were made up from the words above \
around each picture's class; a tenth of them is empty, and half have words in them that mean nothing.

The epoch that is kept was chosen by a critic, a LeNet-5 that learned from the validation pictures, and so were steps \
and guidance, together with the Fréchet distance to validation pictures. The judge of the figures below, a LeNet-5 of \
another seed that learned from the training pictures, had no part in that.

## What it cannot do

It draws one thing, in gray, in the middle of a black ground: no colors, no scenes, no people, nothing that it has no \
word for. Words that it does not know are ignored as well as it has learned to, and a prompt of nothing but unknown \
words still gives a picture: some digit or piece of clothing. "A red dress" is a gray dress; of "12" it draws one \
digit, and "nine sneakers" become some digit too. "A summer shoe", meant as a name for sandals, mostly becomes a \
sneaker. It does not understand "no" or "without"; a negative prompt it does.

Details are soft: prints, laces and buttons get lost in the small autoencoder. Shirts, t-shirts, pullovers and coats \
are as hard to tell apart as in the data. Sizes other than 64 x 64 can be asked for, but it has learned only this one, \
and larger ones come out distorted. As the license of MNIST asks, share it under the same terms.
"""


FAMILY: Family[StarterConfig, PictureTraining] = Family("starter", decide, prepare, test, save_model, describe)


STARTER = Starter(
    name="image-generation",
    tasks=("image-generation",),
    family=FAMILY,
    judge=judge,
    about=ABOUT,
    front={
        "license": "cc-by-sa-3.0",
        "language": "en",
        "library_name": "diffusers",
        "pipeline_tag": "text-to-image",
        "datasets": ["ylecun/mnist", "zalandoresearch/fashion_mnist"],
    },
)
