"""Pictures for tests: arrays, their files, and files that no library writes."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import torch
from PIL import Image

GRAY = np.arange(0, 240, 20, dtype=np.uint8).reshape(3, 4)
COLOR = np.stack([GRAY, GRAY[::-1], 255 - GRAY], axis=2)


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


GRAY_PNG, COLOR_PNG = encoded(Image.fromarray(GRAY)), encoded(Image.fromarray(COLOR))


def gray_of(color: np.ndarray) -> np.ndarray:
    """ITU-R 601 luma, as television and Pillow have it."""
    return color @ np.array([0.299, 0.587, 0.114])


def assert_close(tensor: torch.Tensor, expected: np.ndarray, tolerance: float = 0) -> None:
    """`expected` is (height, width) or (height, width, channels)."""
    expected = expected[..., None] if expected.ndim == 2 else expected
    assert tensor.dtype == torch.uint8
    assert tuple(tensor.shape) == (expected.shape[2], *expected.shape[:2])
    assert np.abs(tensor.permute(1, 2, 0).double().numpy() - expected).max() <= tolerance


def png(width: int, height: int, *, depth: int = 8, color_type: int = 0, body: bytes = b"") -> bytes:
    """A PNG by hand, for what Pillow does not write."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(body)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
