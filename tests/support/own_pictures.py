"""Users' own pictures, made up: small files of plain colors with a little noise, in folders and zips."""

import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.pictures import encoded

COLORS = {"cat": (200, 40, 40), "dog": (40, 200, 40), "owl": (40, 40, 200)}


def picture(label: str, number: int, size: tuple[int, int] = (40, 30), kind: str = "PNG") -> bytes:
    """A file that no other number gives."""
    noise = np.random.default_rng(number).integers(0, 40, (size[1], size[0], 3))
    pixels = (np.array(COLORS.get(label, (120, 120, 120))) + noise).astype(np.uint8)
    return encoded(Image.fromarray(pixels), kind)


def files(count: int = 10, labels: tuple[str, ...] = ("cat", "dog"), under: str = "") -> dict[str, bytes]:
    """Contents by path, `count` of each class."""
    return {
        f"{under}{label}/{number}.png": picture(label, 1000 * place + number)
        for place, label in enumerate(labels)
        for number in range(count)
    }


def in_folder(folder: Path, contents: dict[str, bytes]) -> str:
    """The files written below a folder; its path."""
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return str(folder)


def in_zip(file: Path, contents: dict[str, bytes]) -> str:
    """The files in a zip; its path."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in contents.items():
            archive.writestr(path, content)
    return str(file)
