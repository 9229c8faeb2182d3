import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from mskjax.study.observer_figure import EXPERT, READERS, observer_figure, typical_case

IMAGE = np.full((60, 80), 40, np.int16)
SPACING = (2.0, 1.0)


def box(rows, columns):
    mask = np.zeros(IMAGE.shape, np.uint8)
    mask[slice(*rows), slice(*columns)] = 1
    return mask


def scores(**cases):
    rows = [
        {"case_id": case_id, "init": "observers", "reader": f"reader {i}", "dice": dice}
        for case_id, values in cases.items()
        for i, dice in enumerate(values)
    ]
    network = {"case_id": "c", "init": "random", "reader": "", "dice": 0.75}
    return pd.DataFrame([*rows, network])


def outlines(axes):
    """Colour of each contour and the box around it in millimetres: left, top, right, bottom."""
    found = {}
    for one in axes.collections:
        box = one.get_paths()[0].get_extents()
        found[to_hex(one.get_edgecolor()[0])] = (box.x0, box.y0, box.x1, box.y1)
    return found


def test_the_case_nearest_to_the_median_of_the_readers_dice():
    # Means 0.9, 0.8, 0.5, 0.7, median 0.75: b and d are equally near, and the network's score counts for nothing.
    assert typical_case(scores(a=[0.8, 1.0], d=[0.7], b=[0.8], c=[0.4, 0.6])) == "b"
    assert typical_case(scores(a=[0.9], b=[0.1], c=[0.2, 0.4])) == "c"
    with pytest.raises(ValueError, match="no readers' outlines"):
        typical_case(scores())


def test_outlines_run_along_the_masks_edges_in_millimetres(canvases):
    observer_figure("x", IMAGE, SPACING, box((20, 30), (10, 40)), {"anna": box((22, 30), (12, 50))})
    whole = canvases["figure_2"].axes[0]
    found = outlines(whole)
    assert set(found) == {EXPERT.lower(), READERS[0].lower()}
    assert found[EXPERT.lower()] == pytest.approx((10, 40, 40, 60)), "rows are 2 mm high"
    assert found[READERS[0].lower()] == pytest.approx((12, 44, 50, 60))
    (image,) = whole.images
    assert tuple(image.get_extent()) == (0, 80, 120, 0)
    assert image.get_clim() == (-150, 250)


def test_every_reader_has_an_outline_of_their_own_and_a_name(canvases):
    readers = {f"reader {i}": box((20, 30), (10 + i, 40)) for i in range(11)} | {"expert": box((2, 4), (3, 9))}
    plate = observer_figure("x", IMAGE, SPACING, box((20, 30), (10, 40)), readers)
    (legend,) = canvases["figure_2"].legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["expert", *(f"reader {i}" for i in range(11)), "reader expert"]
    looks = {(line.get_color(), line.get_linestyle()) for line in legend.get_lines()}
    assert len(looks) == 13
    assert len(canvases["figure_2"].axes[0].collections) == 13
    assert "outlined by 12 readers and the expert (white)" in plate.caption


def test_the_enlarged_part_is_where_readers_disagree(canvases):
    drawn = {"anna": box((5, 8), (5, 8)), "bert": box((5, 8), (5, 8)) | box((52, 57), (70, 78))}
    observer_figure("x", IMAGE, SPACING, box((5, 8), (5, 8)), drawn)
    part = canvases["figure_2"].axes[1]
    left, right = part.get_xlim()
    bottom, top = part.get_ylim()
    assert right - left == pytest.approx(bottom - top), "a square, in millimetres"
    assert left <= 70
    assert right >= 78
    assert top <= 104
    assert bottom >= 114


def test_an_empty_outline_and_a_mask_at_the_edge(canvases):
    observer_figure("x", IMAGE, SPACING, box((0, 60), (0, 80)), {"anna": box((0, 0), (0, 0))})
    assert outlines(canvases["figure_2"].axes[0])[EXPERT.lower()] == pytest.approx((0, 0, 80, 120))


def test_refusals():
    with pytest.raises(ValueError, match="no reader outlined case x"):
        observer_figure("x", IMAGE, SPACING, box((0, 1), (0, 1)), {})
    with pytest.raises(ValueError, match="anna"):
        observer_figure("x", IMAGE, SPACING, box((0, 1), (0, 1)), {"anna": np.zeros((3, 3), np.uint8)})
