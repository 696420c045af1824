"""Judging drawn pictures: by a classifier that was trained apart and that nothing was chosen by."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from experiments.starters.pictures.classifier import FEATURES, frechet_distance, look, look_at, share, train_classifier
from experiments.starters.pictures.data import PictureData, first_of_each, load_pictures, reduced
from experiments.starters.pictures.vocabulary import CLASSES, judged_prompts
from experiments.starters.starter import Figure, Judgment

JUDGE_SEED, JUDGE_EPOCHS = 7, 4
DRAWN, DRAWN_SEED = 50, 0  # pictures of each class, and the seed of the first
TIMED = 10


@dataclass(frozen=True)
class Judged:
    """What the judge says of pictures drawn class by class, `drawn` `(n, 1, 64, 64)` from -1 to 1.

    Attributes:
        by_class: the share recognized of each class; `mistaken_for` what the others are taken for most often.
        distance: Fréchet distance to test pictures; of as many training pictures, `distance_of_real`.
    """

    classes: tuple[str, ...]
    drawn: torch.Tensor
    recognized: float
    by_class: tuple[float, ...]
    mistaken_for: tuple[str, ...]
    real_by_class: tuple[float, ...]
    own_accuracy: float
    distance: float
    distance_of_real: float


def judge_pipeline(pipeline: Any, data: PictureData, steps: int, guidance: float) -> Judged:
    """Train the judge, let the pipeline draw, and compare."""
    judge = train_classifier(data.train, JUDGE_EPOCHS, JUDGE_SEED)
    prompts = [prompt for label in range(len(CLASSES)) for prompt in judged_prompts(label, DRAWN)]
    labels = torch.arange(len(CLASSES)).repeat_interleave(DRAWN)
    drawn = draw_pictures(pipeline, prompts, DRAWN_SEED, steps, guidance)
    seen, real = look(judge, reduced(drawn)), look_at(judge, data.test.images)
    said = seen.classes.cpu()
    some = look_at(judge, first_of_each(data.train, DRAWN).images)
    classes, truth = range(len(CLASSES)), data.test.labels
    return Judged(
        classes=CLASSES,
        drawn=drawn.cpu(),
        recognized=share(said, labels),
        by_class=tuple(share(said[labels == label], labels[labels == label]) for label in classes),
        mistaken_for=tuple(_mistaken(said[labels == label], label) for label in classes),
        real_by_class=tuple(share(real.classes[truth == label], truth[truth == label]) for label in classes),
        own_accuracy=share(real.classes, truth),
        distance=frechet_distance(seen.features, real.features),
        distance_of_real=frechet_distance(some.features, real.features),
    )


def _mistaken(said: torch.Tensor, label: int) -> str:
    """What the pictures of a class are most often taken for, besides it; nothing if there are none."""
    wrong = said[said != label]
    return CLASSES[int(wrong.mode().values)] if len(wrong) else ""


def class_table(judged: Judged) -> str:
    """The shares by class as Markdown."""
    rows = [
        f"| {name} | {drawn:.0%} | {other} | {real:.1%} |"
        for name, drawn, other, real in zip(
            judged.classes, judged.by_class, judged.mistaken_for, judged.real_by_class, strict=True
        )
    ]
    head = "| class | drawn, recognized | else mostly taken for | real test pictures, recognized |\n|---|---|---|---|"
    return "\n".join([head, *rows])


def judge(folder: Path, data_dir: Path) -> Judgment:
    """Measure a model folder as the tool uses it. Raises UserError for missing data, ModelFolderError."""
    from tasks.image_generation import ImageGeneration

    data = load_pictures(str(data_dir))
    started = time.perf_counter()
    task = ImageGeneration(folder, "starter", "cpu")
    task.load()
    task.run([{"prompt": "a sneaker"}], {"seed": 0})
    cold = time.perf_counter() - started
    times = sorted(_seconds(task, seed) for seed in range(TIMED))
    steps, guidance = task.suggested["steps"], task.suggested["guidance"]
    judged = judge_pipeline(task.pipelines.from_text, data, steps, guidance)
    threads = f"CPU threads: {torch.get_num_threads()}"
    return Judgment(
        figures=(
            Figure(
                f"drawn pictures recognized by the judge ({len(judged.drawn):,}, {steps} steps, guidance {guidance:g})",
                judged.recognized,
                f"real test pictures {judged.own_accuracy:.3f}; by chance {1 / len(CLASSES):.2f}",
            ),
            Figure("the judge's own accuracy on test pictures", judged.own_accuracy),
            Figure(
                f"Fréchet distance to test pictures in {FEATURES}",
                judged.distance,
                f"as many training pictures {judged.distance_of_real:.2f}",
                digits=2,
            ),
            Figure("seconds for a picture, median", times[len(times) // 2], threads, digits=2),
            Figure("seconds from nothing loaded to the first picture", cold, f"{threads}; at most 3", digits=2),
        ),
        examples=f"{DRAWN} pictures of each class, drawn with the seeds from {DRAWN_SEED} upwards, none left out.\n\n"
        f"{class_table(judged)}",
    )


def _seconds(task: Any, seed: int) -> float:
    [row] = task.run([{"prompt": "a sneaker"}], {"seed": seed})
    return row["seconds"]


DRAWN_TOGETHER = 100


# The model's own settings, chosen among seven by the critic's fraction of pictures that show what was asked for, and by
# the Fréchet distance to validation pictures in its features. More guidance draws the same few pictures of each class
# again and again; beyond 2 it hardly makes them clearer. 8 and 20 steps draw as well.
#   guidance   1      1.5    2      3      4      2, 8 steps   2, 20 steps
#   fraction   0.843  0.915  0.935  0.940  0.945  0.935        0.932
#   distance   4.9    11.6   21.8   38.7   51.1   23.6         21.1
DRAWING_STEPS, GUIDANCE = 12, 2.0


@torch.no_grad()
def draw_pictures(pipeline: Any, prompts: Sequence[str], first_seed: int, steps: int, guidance: float) -> torch.Tensor:
    """One picture for each prompt, with seeds counted up from `first_seed`: float32 `(n, 1, 64, 64)`, -1 to 1."""
    pictures = []
    for start in range(0, len(prompts), DRAWN_TOGETHER):
        some = list(prompts[start : start + DRAWN_TOGETHER])
        seeds = range(first_seed + start, first_seed + start + len(some))
        output = pipeline(
            prompt=some,
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=[torch.Generator("cpu").manual_seed(seed) for seed in seeds],
            output_type="pt",
        )
        pictures.append(output.images[:, :1].float() * 2 - 1)
    return torch.cat(pictures)
