"""Slices as pictures: the muscle window, the outlines of masks, R and L, a scale bar, a legend and a caption.

Drawn pixel by pixel with Pillow: image and masks are enlarged about the same corners, so that an outline runs along the
true edges of the mask's pixels, inside the mask. Rows and columns keep their size in millimetres. Slices come in the
axial view, patient's right on the left. Colours are Okabe and Ito's, which the colour-blind tell apart.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Real
from PIL import Image, ImageDraw, ImageFont

from mskjax.measure.checks import Spacing, Values, as_mask, as_spacing_mm, same_shape
from mskjax.measure.distance import boundary

WINDOW_HU = (-150, 250)  # 400 HU wide about 50, as the network sees it (study A)
COLOURS = ((86, 180, 233), (230, 159, 0))
AGREED = (255, 255, 255)
CAPTION, INK = (24, 24, 24), (255, 255, 255)
AIR_BELOW_HU = -300
MARGIN_MM = 8.0
SCALE_BAR_MM = 50


def draw_slice(
    image_hu: Real[np.ndarray, "h w"],
    spacing_mm: Spacing,
    masks: Mapping[str, Values],
    caption: Sequence[str] = (),
    side_px: int = 760,
    legend: bool = True,
) -> Image.Image:
    """An RGB picture of one slice with the outlines of one or two named masks, about `side_px` wide or high.

    Where two outlines run over the same pixels they are white. Air around the body is cropped away, masks never are.
    `caption` is lines of text below the picture, under the legend unless that is to stand elsewhere.
    """
    if not 1 <= len(masks) <= 2:
        raise ValueError(f"{len(masks)} masks are to be drawn; give one or two")
    for name, mask in masks.items():
        same_shape(image_hu, mask, "the image", name)
    outlined = [as_mask(mask, name) for name, mask in masks.items()]
    spacing = as_spacing_mm(spacing_mm, 2)
    box = body_box(image_hu, outlined, spacing)
    pixels, px_per_mm = _paint(image_hu[box], [mask[box] for mask in outlined], spacing, side_px)
    picture = Image.fromarray(pixels)
    _mark(picture, px_per_mm)
    return _with_caption(picture, _legend(list(masks)) if legend else [], list(caption))


def with_legend(picture: Image.Image, names: Sequence[str]) -> Image.Image:
    """The picture above one legend of the masks `names`, for a montage whose slices were drawn without."""
    return _with_caption(picture, _legend(list(names)), [])


def columns_for(count: int) -> int:
    """How many pictures stand in a row of a montage: nearly a square, or one more where that leaves fewer gaps."""
    square = math.ceil(math.sqrt(count))
    return min((square, square + 1), key=lambda columns: -count % columns)


def montage(pictures: Sequence[Image.Image], columns: int | None = None) -> Image.Image:
    """The pictures row by row in one, on a dark ground; nearly square unless `columns` is given."""
    columns = columns or columns_for(len(pictures))
    width, height = (max(p.size[axis] for p in pictures) for axis in (0, 1))
    gap = 4
    size = (columns * (width + gap) - gap, math.ceil(len(pictures) / columns) * (height + gap) - gap)
    sheet = Image.new("RGB", size, CAPTION)
    for n, picture in enumerate(pictures):
        sheet.paste(picture, (n % columns * (width + gap), n // columns * (height + gap)))
    return sheet


def body_box(
    image_hu: Real[np.ndarray, "h w"], masks: Sequence[Bool[np.ndarray, "h w"]], spacing: np.ndarray
) -> tuple[slice, ...]:
    """The box of all that is not air and of all masks, with a margin."""
    shown = np.logical_or.reduce([image_hu > AIR_BELOW_HU, *masks])
    box = []
    for axis in (0, 1):
        present = np.flatnonzero(shown.any(axis=1 - axis))
        margin = math.ceil(MARGIN_MM / spacing[axis])
        ends = (present[0], present[-1]) if len(present) else (0, image_hu.shape[axis])
        box.append(slice(max(ends[0] - margin, 0), ends[1] + margin + 1))
    return tuple(box)


def _paint(
    image_hu: Real[np.ndarray, "h w"], masks: list[Bool[np.ndarray, "h w"]], spacing: np.ndarray, side_px: int
) -> tuple[np.ndarray, float]:
    """The enlarged picture [rows, columns, 3] and its pixels per millimetre."""
    fine = spacing.min()
    scale = side_px / (max(image_hu.shape * spacing) / fine)
    # Whole multiples keep every pixel of the scan equally large; only montages shrink slices.
    px_per_mm = (max(round(scale), 1) if scale > 0.75 else scale) / fine
    height, width = (max(round(n), 1) for n in image_hu.shape * spacing * px_per_mm)
    low, high = WINDOW_HU
    grey = np.uint8(np.clip((image_hu - float(low)) / (high - low), 0, 1) * 255)
    enlarged = np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BICUBIC))
    pixels = np.repeat(enlarged[..., None], 3, axis=2)
    outlines = [_outline(mask, (width, height), 2 if scale > 1.5 else 1) for mask in masks]
    for outline, colour in zip(outlines, _colours(len(masks)), strict=True):
        pixels[outline] = colour
    if len(outlines) == 2:
        pixels[outlines[0] & outlines[1]] = AGREED
    return pixels, px_per_mm


def _outline(mask: Bool[np.ndarray, "h w"], size: tuple[int, int], width_px: int) -> Bool[np.ndarray, "rows columns"]:
    enlarged = np.asarray(Image.fromarray(np.uint8(mask)).resize(size, Image.Resampling.NEAREST)) > 0
    inside = enlarged
    for _ in range(width_px):
        inside = inside & ~boundary(inside)
    return enlarged & ~inside


def _mark(picture: Image.Image, px_per_mm: float) -> None:
    """Draws the patient's sides and the scale bar."""
    draw, font = ImageDraw.Draw(picture), _font(_text_px(picture))
    width, height = picture.size
    style = {"fill": INK, "font": font, "stroke_width": 2, "stroke_fill": (0, 0, 0)}
    draw.text((8, height / 2), "R", anchor="lm", **style)
    draw.text((width - 8, height / 2), "L", anchor="rm", **style)
    left, bottom, length = 10, height - 10, SCALE_BAR_MM * px_per_mm
    draw.line([(left, bottom), (left + length, bottom)], fill=INK, width=2)
    draw.text((left, bottom - 5), f"{SCALE_BAR_MM // 10} cm", anchor="ls", **style)


def _legend(names: list[str]) -> list[tuple[str, tuple[int, int, int]]]:
    entries = list(zip(names, _colours(len(names)), strict=True))
    return [*entries, ("both", AGREED)] if len(names) == 2 else entries


def _with_caption(
    picture: Image.Image, legend: list[tuple[str, tuple[int, int, int]]], lines: list[str]
) -> Image.Image:
    size = _text_px(picture)
    font, line_px, pad = _font(size), round(size * 1.5), round(size * 0.6)
    count = len(lines) + bool(legend)
    whole = Image.new("RGB", (picture.width, picture.height + line_px * count + pad), CAPTION)
    whole.paste(picture)
    draw, x, y = ImageDraw.Draw(whole), pad, picture.height + pad
    for name, colour in legend:
        draw.line([(x, y + size // 2), (x + size, y + size // 2)], fill=colour, width=3)
        draw.text((x + size * 1.4, y), name, fill=INK, font=font)
        x += size * 2.4 + font.getlength(name)
    for n, line in enumerate(lines, start=int(bool(legend))):
        draw.text((pad, y + n * line_px), line, fill=INK, font=font)
    return whole


def _colours(count: int) -> tuple[tuple[int, int, int], ...]:
    """Reference and prediction, or for a mask alone the colour of a prediction."""
    return COLOURS[-count:]


def _text_px(picture: Image.Image) -> int:
    return min(max(picture.width // 44, 11), 18)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which matplotlib brings along and which knows more scripts than Pillow's own font."""
    found = find_spec("matplotlib")
    assert found and found.origin, "matplotlib is a requirement"
    return ImageFont.truetype(str(Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
