"""Measuring drawn pictures: by networks that say which of the 20 classes a picture shows.

Two are used, from different data and seeds: the critic, which chooses the epoch that is kept, learned from validation
pictures; the judge, by which nothing was chosen, from training pictures.
"""

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import models
from experiments.data.images import ImageData, Subset
from experiments.reports.tables import to_markdown
from experiments.starters.pictures.data import first_of_each, load_pictures, reduced, seen
from experiments.starters.pictures.words import CLASSES, plain_prompts
from experiments.starters.starter import Figure, StarterEvaluation
from experiments.training.state import make_optimizer, schedule_factor

FEATURES = "the 84 numbers before the last layer of the judge (a LeNet-5)"
BATCH, LEARNING_RATE, WEIGHT_DECAY, SHIFT = 128, 4e-3, 0.01, 2
JUDGE_SEED, JUDGE_EPOCHS = 7, 4
DRAWN, DRAWN_SEED = 50, 0  # pictures of each class, and the seed of the first
DRAWN_TOGETHER = 100
TIMED = 10


def train_classifier(data: Subset, epochs: int, seed: int) -> nn.Module:
    """A LeNet-5 that learned from pictures `(n, 1, 32, 32)` as `seen`, shifted by up to two pixels.

    The same seed and data give the same one; torch's random numbers are left as they were.
    """
    device = data.images.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        network = models.build("lenet5", len(CLASSES), in_channels=1).to(device)
        optimizer = make_optimizer("adamw", network, LEARNING_RATE, WEIGHT_DECAY)
        batches = -(-len(data) // BATCH)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: schedule_factor("one_cycle", step, epochs * batches, 0.2)
        )
        pictures = seen(data.images, torch.bfloat16)
        for _ in range(epochs):
            for index in torch.randperm(len(data)).to(device).split(BATCH):
                shift = torch.randint(-SHIFT, SHIFT + 1, (2,)).tolist()
                logits = network(pictures[index].float().roll(shift, (2, 3)))
                F.cross_entropy(logits, data.labels[index]).backward()
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()
    return network.eval()


@torch.no_grad()
def look(network: Any, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Classes `(n,)` and features `(n, 84)` of pictures `(n, 1, 32, 32)` as `seen` or `reduced`."""
    features = torch.cat([network.classifier[:-1](network.features(part).flatten(1)) for part in pictures.split(1000)])
    return network.classifier[-1](features).argmax(dim=1), features


def fraction_right(classes: torch.Tensor, labels: torch.Tensor) -> float:
    """The fraction of answers that are right."""
    return float((classes == labels).float().mean())


def frechet_distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Distance of two sets of features `(n, d)`, each taken for a normal distribution (Heusel et al. 2017, equation 6).

    |m1 - m2|^2 + trace(C1 + C2 - 2 (C1 C2)^(1/2)).
    """
    first, second = one.double().cpu().numpy(), other.double().cpu().numpy()
    c1, c2 = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    apart = first.mean(axis=0) - second.mean(axis=0)
    # The eigenvalues of a product of two covariances are not negative, but for rounding.
    roots = np.sqrt(np.linalg.eigvals(c1 @ c2).real.clip(min=0))
    return float(apart @ apart + np.trace(c1 + c2) - 2 * roots.sum())


class Judged(NamedTuple):
    """What the judge says of pictures drawn class by class.

    Attributes:
        drawn: float32 `(n, 1, 64, 64)`, -1 to 1.
        recognized: the fraction that shows what was asked for; `own_accuracy` is the judge's on real test pictures.
        distance: Fréchet distance to test pictures; `distance_of_real`: that of the same number of training pictures.
        table: both fractions by class, as Markdown.
    """

    drawn: torch.Tensor
    recognized: float
    own_accuracy: float
    distance: float
    distance_of_real: float
    table: str


def evaluate_pipeline(pipeline: Any, data: ImageData, steps: int, guidance: float) -> Judged:
    """Train the judge, let the pipeline draw, and compare."""
    judge = train_classifier(data.train, JUDGE_EPOCHS, JUDGE_SEED)
    drawn, labels = draw_classes(pipeline, DRAWN, DRAWN_SEED, steps, guidance)
    said, features = look(judge, reduced(drawn))
    real, real_features = look(judge, seen(data.test.images))
    _, some_features = look(judge, seen(first_of_each(data.train, DRAWN).images))
    return Judged(
        drawn.cpu(),
        fraction_right(said.cpu(), labels),
        fraction_right(real, data.test.labels),
        frechet_distance(features, real_features),
        frechet_distance(some_features, real_features),
        class_table(said.cpu(), labels, real, data.test.labels),
    )


def class_table(said: torch.Tensor, labels: torch.Tensor, real: torch.Tensor, truth: torch.Tensor) -> str:
    """What drawn pictures of each class are taken for, and how many real ones are recognized, as Markdown."""
    rows = []
    for label in labels.unique().tolist():
        mine, true = said[labels == label], real[truth == label]
        wrong = mine[mine != label]
        mostly = CLASSES[int(wrong.mode().values)] if len(wrong) else ""
        right, known = (float((classes == label).float().mean()) for classes in (mine, true))
        rows.append((CLASSES[label], f"{right:.0%}", mostly, f"{known:.1%}"))
    return to_markdown(("class", "drawn, recognized", "mostly mistaken for", "real test pictures, recognized"), rows)


def evaluate(folder: Path, data_dir: Path) -> StarterEvaluation:
    """Measure a model folder as the tool uses it. Raises UserError for missing data, ModelFolderError."""
    from tasks.image_generation import ImageGeneration

    data = load_pictures(str(data_dir))
    started = time.perf_counter()
    task = ImageGeneration(folder, "starter", "cpu")
    task.load()
    task.run([{"prompt": "a sneaker"}], {"seed": 0})
    cold = time.perf_counter() - started
    times = [task.run([{"prompt": "a sneaker"}], {"seed": seed})[0]["seconds"] for seed in range(TIMED)]
    steps, guidance = task.suggested["steps"], task.suggested["guidance"]
    judged = evaluate_pipeline(task.pipelines.from_text, data, steps, guidance)
    threads = f"CPU threads: {torch.get_num_threads()}"
    what = f"drawn pictures recognized by the judge ({len(judged.drawn):,}, {steps} steps, guidance {guidance:g})"
    figures = (
        Figure(what, judged.recognized, f"real test pictures {judged.own_accuracy:.3f}; chance {1 / len(CLASSES):.2f}"),
        Figure("the judge's own accuracy on test pictures", judged.own_accuracy),
        Figure(
            f"Fréchet distance to test pictures in {FEATURES}",
            judged.distance,
            f"the same number of training pictures {judged.distance_of_real:.2f}",
            digits=2,
        ),
        Figure("seconds for a picture, median", float(np.median(times)), threads, digits=2),
        Figure("seconds from nothing loaded to the first picture", cold, f"{threads}; at most 3", digits=2),
    )
    what = f"{DRAWN} pictures of each class, drawn with seeds from {DRAWN_SEED} up, none left out."
    return StarterEvaluation(figures, f"{what}\n\n{judged.table}")


@torch.no_grad()
def draw_classes(
    pipeline: Any, count: int, first_seed: int, steps: int, guidance: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """`count` pictures of each class, with consecutive seeds: float32 `(n, 1, 64, 64)`, -1 to 1, and their labels."""
    prompts = [prompt for label in range(len(CLASSES)) for prompt in plain_prompts(label, count)]
    pictures = []
    for start in range(0, len(prompts), DRAWN_TOGETHER):
        some = prompts[start : start + DRAWN_TOGETHER]
        seeds = range(first_seed + start, first_seed + start + len(some))
        output = pipeline(
            prompt=some,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            output_type="pt",
        )
        pictures.append(output.images[:, :1].float() * 2 - 1)
    return torch.cat(pictures), torch.arange(len(CLASSES)).repeat_interleave(count)
