"""Slices as bitmaps, plain and with a square outlined, to be prepared."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 48
SQUARE = slice(10, 30)


def plain(seed: int = 0, size: int = SIZE) -> np.ndarray:
    """Grey levels without a colour that a pen has."""
    return np.random.default_rng(seed).integers(20, 200, (size, size)).astype(np.uint8)


def outlined(seed: int = 0, pen=(255, 0, 0)) -> np.ndarray:
    """The same slice with the edge of `SQUARE` drawn one pixel wide; a pen of one number draws in grey."""
    line = np.zeros((SIZE, SIZE), bool)
    line[SQUARE, SQUARE] = True
    line[SQUARE.start + 1 : SQUARE.stop - 1, SQUARE.start + 1 : SQUARE.stop - 1] = False
    pixels = plain(seed) if isinstance(pen, int) else np.stack([plain(seed)] * 3, axis=-1)
    pixels[line] = pen
    return pixels


def square() -> np.ndarray:
    """What the outline encloses, its line included."""
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[SQUARE, SQUARE] = 1
    return mask


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def cohort_of_bitmaps(folder: Path, count: int = 3) -> Path:
    """Folders slices/ and outlined/ with files p0.png, p1.png, ... of the same names."""
    for i in range(count):
        save(folder / f"slices/p{i}.png", plain(i))
        save(folder / f"outlined/p{i}.png", outlined(i))
    return folder
