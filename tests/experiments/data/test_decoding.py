"""Pictures are decoded for training as they are when served, few at a time."""

import numpy as np
import pytest
from PIL import Image

from experiments.data import decoding, layout
from experiments.data.decoding import decode_file
from tasks.images import decode_image, to_image_size
from tests.support.pictures import encoded

MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "CMYK")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", [(28, 28), (32, 32), (50, 70), (300, 200)])
def test_a_file_is_seen_in_training_as_it_is_when_served(mode: str, size: tuple[int, int]) -> None:
    ramp = np.linspace(30, 220, size[0] * size[1]).reshape(size[1], size[0])
    image = (
        Image.fromarray((ramp * 257).astype(np.uint16)) if mode == "I;16" else Image.fromarray(ramp.astype(np.uint8))
    )
    content = encoded(image if mode == "I;16" else image.convert(mode), "JPEG" if mode == "CMYK" else "PNG")
    trained, measures = decode_file(content, 32)
    served = to_image_size(decode_image(content, 3)[None])[0].permute(1, 2, 0).numpy()
    assert measures == size
    assert np.abs(trained.astype(int) - served).max() <= 2


def test_photographs_are_turned_upright_and_reduced_with_care() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (15, 20, 3), dtype=np.uint8)
    photo = Image.fromarray(noise).resize((640, 480), Image.Resampling.BICUBIC)
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(photo, "JPEG", quality=90, exif=exif)
    trained, measures = decode_file(content, 32)
    served = to_image_size(decode_image(content, 3)[None])[0].permute(1, 2, 0).numpy()
    assert measures == (640, 480)
    assert np.abs(trained.astype(int) - served).mean() < 1
    assert np.abs(trained.astype(int) - np.rot90(trained).astype(int)).mean() > 10


def test_decoding_says_how_far_it_is_and_keeps_few_in_memory() -> None:
    said: list[tuple[int, int]] = []
    items = [layout.LabeledFile(str(number), "a", "") for number in range(50)]
    assert list(decoding._shown(items, lambda done, total: said.append((done, total)))) == items
    assert said[0] == (0, 50) and said[-1] == (49, 50)
    begun: list[int] = []
    made = decoding.in_parallel(lambda number: begun.append(number) or number, range(10_000))
    assert [next(made), next(made)] == [0, 1]
    assert len(begun) <= decoding.MAX_THREADS * decoding.AHEAD + 2
    made.close()
