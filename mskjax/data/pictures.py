"""Slices that come as bitmaps: grey levels without HU and spacing, and the muscle that was outlined on a second copy.

Study B classifies such bitmaps as they are. They have 8 bits: of 16, nothing tells which part the window of a CT shows.
A slice whose colours differ is refused, as it may be the outlined copy, whose line would give the answer away. That is
all a picture alone can tell: a line drawn in white or grey is noticed only where the plain copy is given too.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from mskjax.data.bitmaps import colours, outline_to_mask, read_bitmap

PEN_SHARE = 0.5  # of the drawn pixels that have one colour: a pen's do, those of a slice do not


def read_slice(path: str | Path) -> UInt8[np.ndarray, "h w"]:
    """The grey levels 0 to 255 of a bitmap without colours, as a radiologist sees the slice.

    Raises `OSError` where the file cannot be decoded, `ValueError` where it has 16 bits, transparent pixels or colours,
    or shows nothing at all.
    """
    pixels = read_bitmap(path)
    if pixels.dtype != np.uint8:
        raise ValueError(
            f"{path} has {8 * pixels.itemsize} bits a pixel, and nothing tells which of their values a window shows; "
            "export the slice at 8 bits as it is read, or give the CT itself"
        )
    levels = _colours(path, pixels)
    if (coloured := np.ptp(levels, axis=2) > 0).any():
        row, column = np.argwhere(coloured)[0]
        raise ValueError(
            f"{path} has colours, in {coloured.sum()} pixels, as at row {row}, column {column} "
            f"{tuple(levels[row, column].tolist())}: a slice is grey, and one with the outline drawn in would give the "
            "answer away; give the plain slice as the image and the outlined one as its mask"
        )
    if np.ptp(levels) == 0:
        raise ValueError(f"{path} shows nothing, as all its pixels are {levels[0, 0, 0]}; export the slice again")
    return levels[..., 0].astype(np.uint8)


def read_outline(
    image: str | Path, outlined: str | Path, plain: str | Path | None = None
) -> tuple[UInt8[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """The grey levels of the bitmap `image`, and what is enclosed by the lines that `outlined` has and `plain` has not.

    `plain` is `image` unless given. Raises what `read_slice` and `outline_to_mask` raise, and `ValueError` where the
    line is in the plain bitmap rather than in the outlined one, or `image` has another size.
    """
    grey, plain = read_slice(image), image if plain is None else plain
    without, drawn = read_bitmap(plain), read_bitmap(outlined)
    try:
        mask = outline_to_mask(without, drawn)
    except ValueError as error:
        raise ValueError(f"{outlined}: {error}") from error
    if mask.shape != grey.shape:
        raise ValueError(
            f"{image} has {grey.shape[0]} x {grey.shape[1]} pixels and {plain} {mask.shape[0]} x {mask.shape[1]}; "
            "export all bitmaps of a slice at one size"
        )
    _refuse_swapped(_colours(plain, without), _colours(outlined, drawn), plain, outlined)
    return grey, mask


def _colours(path: str | Path, pixels: np.ndarray) -> Shaped[np.ndarray, "h w c"]:
    try:
        return colours(pixels)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _refuse_swapped(
    without: Shaped[np.ndarray, "h w c"], drawn: Shaped[np.ndarray, "h w cc"], plain: str | Path, outlined: str | Path
) -> None:
    difference = np.abs(without - drawn).max(axis=2)
    line = difference > difference.max() / 2
    share = _commonest(without[line])
    if share > PEN_SHARE and share > 2 * _commonest(drawn[line]):
        raise ValueError(
            f"the outline is drawn in {plain}, of whose line {share:.0%} has one colour, rather than in {outlined}; "
            "give the plain slice as the image and the outlined one as its mask"
        )


def _commonest(pixels: Shaped[np.ndarray, "n c"]) -> float:
    """The share of the pixels that have the commonest colour."""
    return float(np.unique(pixels, axis=0, return_counts=True)[1].max() / len(pixels))
