"""Task `image-generation`: a picture from a text, or from a text and a picture, drawn step by step by diffusion."""

import base64
import hashlib
import math
import random
import threading
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from tasks.base import (
    Cancel,
    ModelFolderError,
    Row,
    Task,
    TaskInputError,
    TaskStopped,
    check_text,
    each_row,
    first_line,
    stop_if,
)
from tasks.engines.streaming import Emit, Event, follow
from tasks.hub.source import read_source, weights_folder
from tasks.images import check_images, decode_image
from tasks.json_files import read_json
from tasks.parameters import Parameters, option
from tasks.picture_recipe import PictureRecipe, encode_png
from tasks.runtime.memory import memory_bytes
from tasks.texts import WORD_OR_SYMBOL, named_parts

DEFAULTS_FILE = "generation_defaults.json"
SUGGESTIBLE = ("steps", "guidance", "width", "height")
WORDS = "words"
MAX_PROMPT = 10_000
MAX_IMAGES = 16
SIDE_UNIT, MIN_SIDE, MAX_SIDE = 8, 64, 1536
# Of a model on the Hub: copies in half precision, and the whole model once more in one file of another layout.
NOT_NEEDED = ("*.fp16*", "*non_ema*", "sd*", "v1-*", "v2-*")


class DrawingParameters(Parameters):
    """Of image generation."""

    steps: int = option(None, "denoising steps; more take longer (default: the model's own)", ge=1, le=150)
    guidance: float = option(None, "how closely to follow the prompt (default: the model's own)", ge=0, le=30)
    negative_prompt: str = option("", "what the picture should not show; needs guidance above 1", max_length=MAX_PROMPT)
    strength: float = option(0.8, "with an image: how much of it to redraw, 1 is all", ge=0.02, le=1)
    seed: int = option(None, "the same seed draws the same picture (default: a new one each time)", ge=0, le=2**32 - 1)
    width: int = option(None, "pixels (default: the model's own)", ge=MIN_SIDE, le=MAX_SIDE, multiple_of=SIDE_UNIT)
    height: int = option(None, "pixels (default: the model's own)", ge=MIN_SIDE, le=MAX_SIDE, multiple_of=SIDE_UNIT)


class ImageGeneration(Task):
    """Text, and optionally a picture to start from, to a picture.

    Output: `image` (PNG as base64, with its recipe in the text chunk `recipe`), `width`, `height`, `steps`, `seed`,
    `tokens` (read of the prompt), `truncated` and `ignored` (the end of a prompt that is longer than the model reads),
    `finish_reason` (`stop`, or `cancelled`, and then no image); where the model has a safety checker, which blackens
    what it finds bad, `flagged`; where it is known which words mean something to the model, `unknown`: the others.

    Steps, guidance and size that are not given are the model's own: from `generation_defaults.json` in its folder, or
    what its configuration implies. That file may also list, as `words`, all that the model understands.
    """

    name = "image-generation"
    inputs = {"prompt": True, "image": False}
    parameters = DrawingParameters
    example = {"prompt": "a lighthouse on a cliff at dusk, oil painting"}
    example_parameters = {"steps": 2, "seed": 0, "width": 256, "height": 256}
    requirements = ("torch", "diffusers", "transformers", "accelerate", "huggingface-hub", "pillow")

    def load(self) -> None:
        from tasks.engines.devices import pick_device
        from tasks.engines.diffusion import load_pipelines
        from tasks.engines.loading import pick_dtype

        weights = weights_folder(self.folder, NOT_NEEDED)
        self.revision = weights.name if read_source(self.folder) else None
        device = pick_device(self.device)
        dtype = pick_dtype(device, wide_range=False)
        self.precision = str(dtype).removeprefix("torch.")
        self.pipelines = load_pipelines(weights, device, dtype)
        own, self.words = self._own_defaults(weights)
        self.suggested = {**self.pipelines.suggested(), **own}
        # A scheduler counts the steps of one picture, and a tokenizer keeps how it pads from one call to the next.
        self._one_at_a_time = threading.Lock()

    def memory_bytes(self) -> int:
        return memory_bytes(*self.pipelines.modules) if hasattr(self, "pipelines") else 0

    def check_rows(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        several = isinstance(rows, Sequence) and not isinstance(rows, (str, bytes))
        if several and len(rows) > MAX_IMAGES:  # each takes seconds to minutes
            raise TaskInputError(f"{len(rows)} rows; valid: 1 to {MAX_IMAGES} images a call")
        return super().check_rows(rows)

    def check_row(self, row: dict[str, Any]) -> dict[str, Any]:
        prompt = check_text("prompt", row["prompt"])
        if len(prompt) > MAX_PROMPT:
            raise TaskInputError(f"prompt has {len(prompt)} characters; valid: 1 to {MAX_PROMPT}")
        return {"prompt": prompt, "image": row["image"]}

    def check_total(self, rows: list[dict[str, Any]], cancel: Cancel) -> None:
        check_images([row["image"] for row in rows], cancel)

    def open_row(self, row: dict[str, Any], cancel: Cancel) -> dict[str, Any]:
        if row["image"] is None:
            return row
        pixels = decode_image(row["image"], 3, cancel).permute(1, 2, 0).contiguous()
        return {**row, "image": Image.fromarray(pixels.numpy())}

    def answer(self, rows: list[dict[str, Any]], parameters: dict[str, Any], cancel: Cancel) -> list[dict[str, Any]]:
        recipes = each_row(rows, lambda row: self.recipe(row, parameters))
        pairs = zip(rows, recipes, strict=True)
        return [self._picture(row, recipe, lambda _event: None, cancel) for row, recipe in pairs]

    def stream_answer(
        self, row: dict[str, Any], parameters: dict[str, Any], cancel: Cancel
    ) -> Generator[Event, None, dict[str, Any]]:
        recipe = self.recipe(row, parameters)
        picture = yield from follow(lambda emit, cancelled: self._picture(row, recipe, emit, cancelled), cancel)
        return picture

    def recipe(self, row: dict[str, Any], parameters: dict[str, Any]) -> PictureRecipe:
        """What will be drawn, with all that was not given. Raises TaskInputError for what does not go together."""
        given = {name: value for name, value in parameters.items() if value is not None}
        settings = {**self.suggested, **given}
        settings.setdefault("seed", random.randrange(10**6))  # short enough to be read out
        image = row["image"]
        if image is None:
            settings["strength"] = None
        else:
            settings["width"], settings["height"] = self._size(image, parameters)
            settings["steps"] = _steps_from_image(settings["strength"], settings["steps"], parameters["steps"])
        if settings["negative_prompt"] and settings["guidance"] <= 1:
            raise TaskInputError(
                f"negative_prompt has no effect with guidance {settings['guidance']:g}; "
                "valid: guidance above 1, or no negative_prompt"
            )
        return PictureRecipe(
            prompt=row["prompt"],
            image_sha256=hashlib.sha256(image.tobytes()).hexdigest() if image else None,
            model=self.model_name,
            revision=self.revision,
            scheduler=type(self.pipelines.from_text.scheduler).__name__,
            precision=self.precision,
            **settings,
        )

    def _picture(self, row: dict[str, Any], recipe: PictureRecipe, emit: Emit, cancel: Cancel) -> dict[str, Any]:
        """Draw a recipe: the output row. Steps are emitted as they are done."""
        from tasks.engines.diffusion import draw

        arguments = {
            "prompt": recipe.prompt,
            "negative_prompt": recipe.negative_prompt or None,
            "num_inference_steps": recipe.steps,
            "guidance_scale": recipe.guidance,
        }
        size = {"width": recipe.width, "height": recipe.height}
        image = row["image"]
        if image is None:
            pipeline, arguments = self.pipelines.from_text, {**arguments, **size}
        else:
            stop_if(cancel)  # hashing a large one took a while, and so does what follows
            start = image.resize((recipe.width, recipe.height), Image.Resampling.LANCZOS)
            pipeline, arguments = self.pipelines.from_image, {**arguments, "image": start, "strength": recipe.strength}
        with self._one_at_a_time:
            tokens, ignored = self.pipelines.prompt_window(recipe.prompt)
        facts = {
            **size,
            "steps": recipe.steps,
            "seed": recipe.seed,
            "tokens": tokens,
            "truncated": bool(ignored),
            "ignored": ignored,
        }
        try:
            with self._one_at_a_time:
                on_step = lambda step, of: emit({"step": step, "steps": of})  # noqa: E731
                picture, flagged = draw(pipeline, arguments, recipe.seed, on_step, cancel)
        except TaskStopped:
            return {"image": None, **facts, "finish_reason": "cancelled"}
        checked = {} if flagged is None else {"flagged": flagged}
        png = base64.b64encode(encode_png(picture, recipe)).decode()
        return {"image": png, **facts, **checked, "finish_reason": "stop"}

    def _size(self, image: Image.Image, parameters: dict[str, Any]) -> tuple[int, int]:
        """Width and height for a picture drawn from another: in its shape, with the pixels of the model's own."""
        width, height = parameters["width"], parameters["height"]
        ratio = image.width / image.height
        if width is None:
            area = self.suggested["width"] * self.suggested["height"]
            width = math.sqrt(area * ratio) if height is None else height * ratio
        height = width / ratio if height is None else height
        return _side(width), _side(height)

    def remarks(self, row: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
        if not self.words:
            return {}
        texts = (row["prompt"], parameters["negative_prompt"])
        parts = (part for text in texts for part in WORD_OR_SYMBOL.findall(text))
        unknown = named_parts(part for part in parts if part.lower() not in self.words)
        return {"unknown": unknown} if unknown else {}

    def _own_defaults(self, weights: Path) -> tuple[dict[str, Any], frozenset[str]]:
        """What the file beside the weights, or in the folder that stands for them, suggests, checked as parameters;
        and the words that it says the model understands."""
        for path in (self.folder / DEFAULTS_FILE, weights / DEFAULTS_FILE):
            if path.exists():
                try:
                    given = read_json(path)
                    words = frozenset(map(str, given.pop(WORDS, ()) if isinstance(given, dict) else ()))
                    checked = self.check_parameters(given)
                    if other := set(given) - set(SUGGESTIBLE):
                        raise ValueError(f"it suggests {min(other)}; valid: {', '.join((*SUGGESTIBLE, WORDS))}")
                except (OSError, ValueError, TypeError) as error:  # TaskInputError is a ValueError
                    raise ModelFolderError(f"{path} cannot be used: {first_line(error)}") from error
                return {name: checked[name] for name in given}, words
        return {}, frozenset()


def _side(pixels: float) -> int:
    return min(max(round(pixels / SIDE_UNIT) * SIDE_UNIT, MIN_SIDE), MAX_SIDE)


def _steps_from_image(strength: float, suggested: int, given: int | None) -> int:
    """Enough steps: the fraction `strength` of them is taken. Raises TaskInputError if the given are too few."""
    least = math.ceil(1 / strength)
    least += int(least * strength) < 1  # 5 x 0.19999999999999998 is below 1
    if given is not None and given < least:
        raise TaskInputError(f"steps is {given}; valid: at least {least} with strength {strength:g}")
    return max(given or suggested, least)
