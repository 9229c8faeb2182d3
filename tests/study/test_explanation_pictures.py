import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from mskjax.study.explanation_pictures import draw, panel

HU = np.full((40, 60), 40, np.int16)
MASK = np.zeros((40, 60), np.uint8)
MASK[10:20, 20:40] = 1
NONE = np.zeros((40, 60), np.uint8)


def picture(mask=NONE, maps=None, image=HU, spacing=(1.0, 1.0), sided=True):
    """The picture's pixels, as signed numbers."""
    png = draw(image, np.array(spacing), mask, maps or {}, "case", (-175.0, 250.0), sided)
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def extent(pixels):
    """The rows and columns of what has colour."""
    rows, columns = np.nonzero(np.ptp(pixels, axis=-1) > 30)
    return np.ptp(rows) + 1, np.ptp(columns) + 1


def test_a_slice_without_mask_and_map_is_grey():
    assert not np.ptp(picture(), axis=-1).any()


def test_sides_are_told_where_they_are_known():
    changed = np.nonzero((picture() != picture(sided=False)).any(axis=(0, 2)))[0] / picture().shape[1]
    assert changed.min() < 0.1 < 0.9 < changed.max()
    assert not ((changed > 0.1) & (changed < 0.9)).any()


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.0, 1.0)])
def test_the_outline_has_the_size_of_the_mask_in_millimetres(spacing):
    height, width = extent(picture(MASK, spacing=spacing))
    assert height / width == pytest.approx(10 * spacing[0] / (20 * spacing[1]), rel=0.05)


def test_a_map_is_seen_where_it_says_something():
    half = np.repeat([[1.0] * 30 + [0.0] * 30], 40, axis=0)
    bar, of_half, of_whole = (
        (np.ptp(picture(maps={"grad_cam": values}), axis=-1) > 30).sum() for values in (0 * half, half, 0 * half + 1)
    )
    assert of_half - bar == pytest.approx((of_whole - bar) / 2, rel=0.02)


@pytest.mark.parametrize(("sign", "stronger", "weaker"), [(1, 0, 2), (-1, 2, 0)])
def test_lime_is_red_for_the_class_and_blue_against_it(sign, stronger, weaker):
    values = np.zeros((40, 60))
    values[:, 10:40] = sign * 1e-3
    pixels = picture(maps={"lime": values})[:, : -picture().shape[1] // 3]
    coloured = pixels[np.ptp(pixels, axis=-1) > 60]
    assert len(coloured)
    assert (coloured[:, stronger] > coloured[:, weaker]).all()


@pytest.mark.parametrize(("method", "ends"), [("grad_cam", ["0", "0.5", "1"]), ("lime", ["\N{MINUS SIGN}2", "0", "2"])])
def test_the_scale_below_a_map_tells_its_ends_and_its_middle(method, ends):
    figure = Figure()
    case = HU, MASK, np.ones(2)
    panel(figure, figure.subplots(), case, (-175.0, 250.0), True, method, np.full((40, 60), float(ends[-1])), "bottom")
    _, scale = figure.axes
    assert [label.get_text() for label in scale.get_xticklabels()] == ends


def test_a_map_of_nothing_can_be_drawn():
    assert picture(MASK, {"grad_cam": np.zeros((40, 60)), "lime": np.zeros((40, 60))}).shape[2] == 3


def test_equal_arguments_give_equal_bytes():
    arguments = (HU, np.ones(2), MASK, {"lime": np.eye(40, 60)}, "case", (-175.0, 250.0), True)
    assert draw(*arguments) == draw(*arguments)
