"""Screenshots in a row as an animated picture, as the README shows one."""

from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

COLORS = 64
WIDTH = 800  # pixels


class Film:
    """Frames of pages, each shown until the next one."""

    def __init__(self) -> None:
        self.frames: list[Image.Image] = []
        self.milliseconds: list[int] = []

    def take(self, page: Any, milliseconds: int = 150) -> None:
        """Add what a page shows now; nothing if that is what the last frame shows, which then stays longer."""
        picture = Image.open(BytesIO(page.screenshot())).convert("RGB")
        picture = picture.resize((WIDTH, WIDTH * picture.height // picture.width), Image.Resampling.LANCZOS)
        if self.frames and picture.tobytes() == self.frames[-1].tobytes():
            self.milliseconds[-1] += milliseconds
        else:
            self.frames.append(picture)
            self.milliseconds.append(milliseconds)

    def save(self, path: Path) -> None:
        """Write it as a GIF that repeats."""
        # One palette for all: with one a frame, what stands still would flicker.
        strip = Image.new("RGB", (WIDTH, sum(one.height for one in self.frames)))
        for number, one in enumerate(self.frames):
            strip.paste(one, (0, sum(other.height for other in self.frames[:number])))
        palette = strip.quantize(COLORS, dither=Image.Dither.NONE)
        first, *others = [one.quantize(palette=palette, dither=Image.Dither.NONE) for one in self.frames]
        first.save(path, save_all=True, append_images=others, duration=self.milliseconds, loop=0, optimize=True)
