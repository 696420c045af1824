"""Files of pictures to rows of pixels in a file: in parallel, in order, and never all in memory.

Threads, not processes: Pillow decodes and resizes outside of Python's lock, and nothing need be sent to and fro.
"""

import hashlib
import lzma
import os
import sys
import time
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from experiments.data.folders import FileSource
from experiments.data.layout import LabeledFile
from tasks.base import TaskInputError
from tasks.images import is_padded, open_reduced

MAX_THREADS = 16
DRAFT = 2  # a JPEG is decoded at this multiple of the size that is wanted
AHEAD = 8  # pictures a thread that may wait to be written: at 224 px 1.2 MB
SAID_EVERY_S = 5.0  # where there is no terminal
CHUNK = 1000

Given = TypeVar("Given")
Made = TypeVar("Made")
Show = Callable[[int, int], None]


class DecodedPicture(NamedTuple):
    """A picture: uint8 `(size, size, 3)`, the file's width and height, and the SHA-256 of its bytes."""

    pixels: np.ndarray
    measures: tuple[int, int]
    sha256: str


class WrittenPicture(NamedTuple):
    """What is known of a picture that was written; `pixels` is a digest, the same for the same pixels."""

    item: LabeledFile
    measures: tuple[int, int]
    sha256: str
    pixels: str


def decode_to(
    file: Path, source: FileSource, prefix: str, items: Sequence[LabeledFile], size: int, show: Show | None = None
) -> tuple[list[WrittenPicture], list[tuple[str, str]], int]:
    """Write the pictures, `size` x `size`, one after another to a file: gray if all are, else in color.

    Args: show: called with how many of how many are done; without it a bar or lines in the terminal say so.

    Returns the rows written, the paths of those that cannot be read with the reasons, and the number of channels.
    """
    rows: list[WrittenPicture] = []
    unreadable: list[tuple[str, str]] = []
    gray = True
    with file.open("wb") as target:
        decoded = in_parallel(lambda item: _decoded(source, f"{prefix}{item.path}", size), items)
        for item, one in zip(_shown(items, show), decoded, strict=True):
            if isinstance(one, str):
                unreadable.append((item.path, one))
                continue
            gray = gray and _is_gray(one.pixels)
            target.write(one.pixels.data)
            digest = hashlib.blake2b(one.pixels.data, digest_size=16).hexdigest()
            rows.append(WrittenPicture(item, one.measures, one.sha256, digest))
    if gray and rows:
        _keep_one_channel(file, (len(rows), size, size, 3))
    return rows, unreadable, 1 if gray else 3


def in_parallel(work: Callable[[Given], Made], given: Iterable[Given]) -> Generator[Made, None, None]:
    """`work` on each, on all cores, in order; only some are at work or wait to be taken."""
    threads = min(MAX_THREADS, os.cpu_count() or 1)
    waiting: deque[Future[Made]] = deque()
    pool = ThreadPoolExecutor(threads, "decode")
    try:
        for one in given:
            waiting.append(pool.submit(work, one))
            if len(waiting) >= threads * AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def decode_file(content: bytes, size: int) -> tuple[np.ndarray, tuple[int, int]]:
    """A file to uint8 `(size, size, 3)` by the rules of `to_image_size`, and its width and height.

    Of a photograph of 640 x 480 the pixels differ by less than a gray level on average from those that a served model
    sees, which resizes all of it.

    Raises TaskInputError for what is no picture that the task takes.
    """
    picture, measures = open_reduced(content, DRAFT * size)
    if is_padded(*picture.size, size):
        picture = ImageOps.expand(picture.convert("RGB"), 2)
    else:
        # Gray is resized before its channel is tripled.
        scalable = picture if picture.mode in ("L", "RGB") else picture.convert("RGB")
        picture = scalable.resize((size, size), Image.Resampling.BILINEAR).convert("RGB")
    return np.asarray(picture), measures


def _decoded(source: FileSource, path: str, size: int) -> DecodedPicture | str:
    """A picture, or why it cannot be used."""
    try:
        content = source.read(path)
        pixels, measures = decode_file(content, size)
    except TaskInputError as error:
        return str(error).split("; valid")[0].removeprefix("image ")
    except (OSError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    return DecodedPicture(pixels, measures, hashlib.sha256(content).hexdigest())


def _is_gray(pixels: np.ndarray) -> bool:
    return bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 1] == pixels[..., 2]).all())


def _keep_one_channel(file: Path, shape: tuple[int, ...]) -> None:
    pixels = np.memmap(file, np.uint8, "r+", shape=shape)
    flat = pixels.reshape(-1)
    row = shape[1] * shape[2]
    for start in range(0, shape[0], CHUNK):  # the narrower rows never overtake those that are read
        part = np.ascontiguousarray(pixels[start : start + CHUNK, ..., 0]).reshape(-1)
        flat[start * row : start * row + len(part)] = part
    pixels.flush()
    del pixels, flat
    os.truncate(file, shape[0] * row)


def _shown(items: Sequence[LabeledFile], show: Show | None) -> Iterator[LabeledFile]:
    """The items, while progress is reported."""
    if show is None and sys.stderr.isatty():
        yield from tqdm(items, "decoding pictures", unit="", leave=False)
        return
    said = time.monotonic()
    for number, item in enumerate(items):
        if time.monotonic() - said > SAID_EVERY_S and show is None:
            print(f"[{number}/{len(items)}] pictures decoded", flush=True)
            said = time.monotonic()
        if show is not None:
            show(number, len(items))
        yield item
