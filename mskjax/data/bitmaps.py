"""Masks from pairs of bitmaps: the plain slice, and the same slice with the muscle's outline drawn into it.

Where the two differ, the line was drawn. The line is closed over gaps of 2 pixels and filled. The mask reaches to the
middle of the line, whose pixels belong to it where their centres do: a line one pixel wide is part of the mask, of one
three pixels wide the outer ring is not. Otherwise a thick pen would add several cm2 to a muscle. An outline that lies
within another cuts a hole (the inner edge of the abdominal wall), one within that hole is muscle again (a psoas).
"""

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from jaxtyping import Bool, Int32, Integer, Shaped
from scipy import ndimage
from skimage.filters import apply_hysteresis_threshold
from skimage.measure import label, regionprops
from skimage.morphology import skeletonize

SQUARE = np.ones((3, 3), bool)
LARGEST_CHANGE = 0.25  # of the pixels; a drawn line covers a few percent
FAINT_SHARE = 0.2  # of the changed pixels; smooth pens have faint rims, compression has wide faint surroundings
SPECK_PIXELS = 10  # a dot or the ends of a line that overshoot, rather than an open outline
LOOSE_SHARE = 0.1  # of a line's pixels that may lie beside what it encloses, as overshooting ends and thin tips do
PIXELS_A_STEP = 1.12  # mean length in pixels of one step along a thin digital line, over all directions


def read_bitmap(path: str | Path) -> Integer[np.ndarray, "h w *c"]:
    """The pixels [h, w], or [h, w, channels] in colour, of a PNG, TIFF, BMP or JPEG file.

    Raises `OSError` where the file cannot be decoded, `ValueError` where it is no single picture of 8 or 16 bits.
    """
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise OSError(f"{path} cannot be read as a bitmap; save it again as PNG, TIFF or BMP") from error
    pixels = sitk.GetArrayFromImage(image)
    if image.GetDimension() != 2 or pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(
            f"{path} is no single picture of 8 or 16 bits (size {image.GetSize()}, {pixels.dtype}); "
            "save the slice again as PNG, TIFF or BMP"
        )
    return pixels


def outline_to_mask(
    image: Shaped[np.ndarray, "h w *c"], outlined: Shaped[np.ndarray, "hh ww *cc"]
) -> Bool[np.ndarray, "h w"]:
    """What the outlines drawn into `outlined` enclose, as the module says; `image` is the same picture without them.

    Grey or colour (grey and colour may meet), 8 or 16 bits, the pen of any colour. Compressed pictures (JPEG) are read
    as long as the pen stands out of the compression noise. Raises `ValueError` where the sizes or depths differ,
    nothing or nearly everything differs, noise and line cannot be told apart, or an outline is open.
    """
    line = _drawn(_difference(image, outlined))
    loose = _loose(line)
    if loose.any():
        # Only now: closing fills narrow notches too, and most outlines need none.
        line = ndimage.binary_closing(np.pad(line, 2), SQUARE)[2:-2, 2:-2]
        loose = _loose(line)
    if loose.any():
        row, column = np.argwhere(loose)[0]
        raise ValueError(
            f"the outline is open: {loose.sum()} of its {line.sum()} pixels, as at row {row}, column {column}, enclose "
            "nothing; draw it closed (gaps of 2 pixels are allowed), unfilled and in a colour that the slice has not"
        )
    return _enclosed(line)


def _difference(image: np.ndarray, outlined: np.ndarray) -> np.ndarray:
    """The largest difference over the channels [h, w], in grey levels."""
    if image.shape[:2] != outlined.shape[:2] or image.dtype != outlined.dtype:
        raise ValueError(
            f"the plain bitmap is {_described(image)} and the outlined one {_described(outlined)}; "
            "export both at the same size and depth"
        )
    return np.abs(colours(image) - colours(outlined)).max(axis=2)


def _described(pixels: np.ndarray) -> str:
    return f"{pixels.shape[0]} x {pixels.shape[1]} of {8 * pixels.itemsize} bits"


def colours(pixels: Shaped[np.ndarray, "h w *c"]) -> Int32[np.ndarray, "h w channels"]:
    """The 1 or 3 colours of a bitmap as signed numbers, without an alpha channel that says nothing.

    Raises `ValueError` where pixels are transparent.
    """
    channels = pixels.astype(np.int32).reshape(*pixels.shape[:2], -1)
    if channels.shape[2] in (2, 4):
        if np.ptp(channels[..., -1]) > 0:
            raise ValueError("a bitmap has transparent pixels; flatten the outline onto the slice and save it again")
        channels = channels[..., :-1]
    return channels


def _drawn(difference: np.ndarray) -> np.ndarray:
    """Where the pen was, bool [h, w]: every difference of exact copies, half the pen's contrast of compressed ones."""
    largest = difference.max()
    if largest == 0:
        raise ValueError("the two bitmaps do not differ, so there is no outline; give the slice without it and with it")
    core = apply_hysteresis_threshold(difference, largest / 3, largest / 2)
    contrast = np.median(difference[core])
    noise = _noise(difference, core)
    line = difference > 0 if noise == 0 else apply_hysteresis_threshold(difference, contrast / 3, largest / 2)
    if line.mean() > LARGEST_CHANGE or noise > contrast / 3:
        raise ValueError(
            f"the two bitmaps differ in {(difference > 0).mean():.0%} of their pixels, by {noise:.0f} grey levels "
            f"beside the line and {contrast:.0f} on it, so no outline stands out; save the same slice twice as PNG, "
            "TIFF or BMP"
        )
    return line


def _noise(difference: np.ndarray, core: np.ndarray) -> float:
    """What compression changed beside the pen, in grey levels; 0 for exact copies, which differ nowhere faintly."""
    changed = difference[difference > 0]
    if np.mean(changed <= changed.max() / 16) < FAINT_SHARE:
        return 0.0
    distance = _distance_to(core)
    return float(np.percentile(difference[(distance > 3) & (distance <= 12)], 95))


def _loose(line: np.ndarray) -> np.ndarray:
    """The pixels bool [h, w] of lines that enclose nothing, where they are too many for specks and overshooting."""
    reach = _width(line) + 1.5
    loose = np.zeros_like(line)
    for part in _parts(line):
        enclosed = _filled(part) & ~part
        beyond = part & (_distance_to(enclosed) > reach) if enclosed.any() else part
        if beyond.sum() > max(SPECK_PIXELS, LOOSE_SHARE * part.sum()):
            loose |= beyond
    return loose


def _enclosed(line: np.ndarray) -> np.ndarray:
    """The area within the middle of the lines, bool [h, w]; lines nested in others alternate between hole and area."""
    middle = (_width(line) + 1) / 2
    mask = np.zeros_like(line)
    for part in _parts(line):
        filled = _filled(part)
        if (filled == part).all():
            continue
        depth = _distance_to(np.pad(~filled, 1, constant_values=True))[1:-1, 1:-1]
        # Where no area is near, in a tip so thin that its two lines touch, the pen's width says where the middle is.
        to_middle = np.minimum(_distance_to(filled & ~part), middle)
        if mask[part].mean() > 0.5:
            mask &= depth <= to_middle
        else:
            mask |= filled & (depth >= to_middle)
    if not mask.any():
        raise ValueError("the two bitmaps differ in a few specks only, so there is no outline; draw a closed line")
    return mask


def _parts(line: np.ndarray) -> list[np.ndarray]:
    """The connected lines, each bool [h, w], those around the largest areas first."""
    labels = label(line, connectivity=2)
    return [labels == part.label for part in sorted(regionprops(labels), key=lambda part: -part.area_bbox)]


def _width(line: np.ndarray) -> int:
    """The pen's width in whole pixels: the area of all lines over their length."""
    return max(round(line.sum() / (skeletonize(line).sum() * PIXELS_A_STEP)), 1)


def _filled(part: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.binary_fill_holes(part))


def _distance_to(target: np.ndarray) -> np.ndarray:
    """The distance of every pixel's centre to the nearest true one's, in pixels."""
    return np.asarray(ndimage.distance_transform_edt(~target))
