"""The recipe of a drawn picture: all that makes it again, carried by its PNG."""

import io
import json
import warnings
from dataclasses import asdict, dataclass
from typing import Any

from PIL import Image, PngImagePlugin

from tasks.json_files import parse_json

RECIPE = "recipe"  # the text chunk of the PNG
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


@dataclass(frozen=True)
class PictureRecipe:
    """All that makes a picture again, together with the input picture, if there was one (its digest is named)."""

    prompt: str
    negative_prompt: str
    steps: int
    guidance: float
    seed: int
    width: int
    height: int
    strength: float | None
    image_sha256: str | None
    model: str
    revision: str | None
    scheduler: str
    precision: str


def encode_png(picture: Image.Image, recipe: PictureRecipe) -> bytes:
    """A PNG that carries its recipe."""
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text(RECIPE, json.dumps(asdict(recipe)))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=chunks)
    return buffer.getvalue()


def read_recipe(png: bytes) -> dict[str, Any]:
    """The recipe in a PNG of this task; its pixels are not decoded. Raises ValueError if there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            recipe = parse_json(Image.open(io.BytesIO(png), formats=["PNG"]).info[RECIPE])
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, *BOMBS) as error:
        raise ValueError("the file is not a PNG with a recipe") from error
    if not isinstance(recipe, dict):
        raise ValueError("the file is not a PNG with a recipe")
    return recipe
