"""How the starter's steps and guidance were chosen: `python -m experiments.starters.pictures.settings FOLDER DATA_DIR`.

The critic, trained on validation pictures, looks at pictures drawn with several settings; the judge and the test
pictures have no part in it.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from experiments.starters.pictures.classifier import frechet_distance, look, look_at, share, train_classifier
from experiments.starters.pictures.data import load_pictures, reduced
from experiments.starters.pictures.drawing import draw_pictures
from experiments.starters.pictures.setup import CRITIC_EPOCHS, CRITIC_SEED
from experiments.starters.pictures.vocabulary import CLASSES, judged_prompts
from tasks.engines.diffusion import load_pipelines

SETTINGS = ((12, 1.0), (12, 1.5), (12, 2.0), (12, 3.0), (12, 4.0), (8, 2.0), (20, 2.0))
DRAWN, DRAWN_SEED = 30, 700_000


class Tried(NamedTuple):
    """What the critic says of pictures drawn with some settings; the distance is to validation pictures."""

    steps: int
    guidance: float
    recognised: float
    distance: float


def try_settings(folder: Path, data_dir: Path) -> Iterator[Tried]:
    """Draw with one setting after the other. Raises UserError for missing data, ModelFolderError for the folder."""
    data = load_pictures(str(data_dir))
    critic = train_classifier(data.val, CRITIC_EPOCHS, CRITIC_SEED)
    real = look_at(critic, data.val.images)
    pipeline: Any = load_pipelines(folder, torch.device("cpu"), torch.float32).from_text
    prompts = [prompt for label in range(len(CLASSES)) for prompt in judged_prompts(label, DRAWN)]
    labels = torch.arange(len(CLASSES)).repeat_interleave(DRAWN)
    for steps, guidance in SETTINGS:
        seen = look(critic, reduced(draw_pictures(pipeline, prompts, DRAWN_SEED, steps, guidance)))
        distance = frechet_distance(seen.features, real.features)
        yield Tried(steps, guidance, share(seen.classes, labels), distance)


if __name__ == "__main__":
    print("steps  guidance  recognised  distance")
    for tried in try_settings(Path(sys.argv[1]), Path(sys.argv[2])):
        print(f"{tried.steps:5}{tried.guidance:10}{tried.recognised:12.3f}{tried.distance:10.2f}", flush=True)
