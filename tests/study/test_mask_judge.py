"""What a cell says of the test slices: masks on their own grids, and their scores."""

import json
import shutil

import jax
import numpy as np
import pandas as pd
import pytest
from small_study import TEST, config, held_out

from mskjax import tasks
from mskjax.data.dataset import read_dataset
from mskjax.study import cell_run
from mskjax.study.mask_judge import MaskJudge, mask_judge, read_masks, read_scores, score_masks, write_masks
from mskjax.study.settings import plain
from mskjax.study.summary import EDITION
from mskjax.training import load_run

CELL = "jigsaw_n004_fold1_draw0_seed0"
PIXEL_CM2 = 2.0 * 1.5 / 100  # of p9 and p12


@pytest.fixture(scope="module")
def dataset(squares):
    return read_dataset(squares)


@pytest.fixture
def cell(study, tmp_path):
    """A copy of a finished cell, to be changed."""
    return shutil.copytree(study / "cells" / CELL, tmp_path / CELL)


def test_masks_of_unlike_odd_sizes_come_back(dataset, tmp_path):
    slices, rng = held_out(dataset), np.random.default_rng(0)
    assert len({tuple(shape) for shape in slices.shape}) == 3
    assert any(shape.prod() % 8 for shape in slices.shape)
    masks = [rng.random(tuple(shape)) < 0.5 for shape in slices.shape]
    write_masks(tmp_path / "masks.npz", slices, masks)
    found = read_masks(tmp_path / "masks.npz")
    assert list(found) == [f"p{i}" for i in range(8, 13)]
    for mask, read in zip(masks, found.values(), strict=True):
        np.testing.assert_array_equal(mask, read)
    one = slices.select([3])
    write_masks(tmp_path / "masks.npz", one, [~masks[3]])
    np.testing.assert_array_equal(read_masks(tmp_path / "masks.npz")["p11"], ~masks[3])


@pytest.mark.parametrize(("count", "batch_size"), [(1, 4), (4, 4), (5, 4), (5, 2), (3, 8)])
def test_full_batches_whatever_the_number_of_slices(dataset, count, batch_size):
    """By a network that finds what is above 0 HU, and asks for batches of one size."""
    asked = []

    def forward(variables, image_hu):
        asked.append(image_hu.shape)
        return jax.numpy.where(image_hu > variables["level"], 0.9, 0.1)

    slices = held_out(dataset).select(range(count))
    squares_hu = (np.arange(count)[:, None, None] * 10 + np.zeros((1, 32, 32))).astype(np.int16)
    made = MaskJudge(forward, slices, squares_hu, batch_size).masks({"level": np.float32(15)})
    assert [mask.shape for mask in made] == [tuple(shape) for shape in slices.shape]
    centres = [bool(mask[mask.shape[0] // 2, mask.shape[1] // 2]) for mask in made]
    assert centres == [number > 1 for number in range(count)]
    assert set(asked) == {(batch_size, 32, 32)}


def test_the_masks_are_those_that_the_run_predicts(study, dataset):
    """As launch.measure and launch.evaluate ask it, slice by slice."""
    predictor, masks, slices = (
        load_run(study / "cells" / CELL),
        read_masks(study / "cells" / CELL / "predictions.npz"),
        {},
    )
    for i in dataset.rows("test").tolist():
        image_hu, _, spacing_mm = dataset.slices.case(i)
        slices[str(dataset.slices.case_id[i])] = predictor(image_hu[None], spacing_mm)[0]
    assert list(masks) == list(slices)
    for case_id, probability in slices.items():
        sure = np.abs(probability - 0.5) > 1e-4  # of nine thousand pixels, some are on the edge
        assert sure.mean() > 0.99
        np.testing.assert_array_equal(masks[case_id][sure], (probability > 0.5)[sure])


def test_weights_that_predict_no_numbers_are_said(squares, dataset):
    task = tasks.build(plain(config(squares))["task"])
    expert = mask_judge(dataset, task, 32, 4)
    with pytest.raises(ValueError, match="predict values that are no numbers; train with a lower learning rate"):
        MaskJudge(lambda *_: np.full((4, 32, 32), np.nan), expert.slices, expert.squares_hu, 4).masks({})


def test_scores_are_those_of_the_reference_on_its_own_grid(dataset):
    slices = held_out(dataset)
    reference = [slices.case(i)[1].astype(bool) for i in range(TEST)]
    scores = score_masks(slices, [reference[0], *(np.zeros_like(mask) for mask in reference[1:])])
    assert list(scores.columns) == [
        *("case_id", "dice", "rms_dta_cm", "sma_cm2", "smd_hu", "reference_sma_cm2", "reference_smd_hu")
    ]
    assert scores["case_id"].tolist() == [f"p{i}" for i in range(8, 13)]
    assert scores["dice"].tolist() == [1, 0, 0, 0, 0]
    assert scores["rms_dta_cm"].tolist() == [0, np.inf, np.inf, np.inf, np.inf]
    assert scores["smd_hu"].isna().tolist() == [False, True, True, True, True]
    assert scores["sma_cm2"][0] == scores["reference_sma_cm2"][0]
    # Squares of 15 x 12 pixels; p9 and p12 have pixels of 2 x 1.5 mm.
    assert scores["reference_sma_cm2"][[1, 4]].tolist() == pytest.approx([15 * 12 * PIXEL_CM2] * 2)


def test_scores_read_back_as_they_were(cell, dataset):
    masks = read_masks(cell / "predictions.npz")
    expected = score_masks(held_out(dataset), list(masks.values()))
    pd.testing.assert_frame_equal(read_scores(cell, dataset), expected, check_exact=True)


def test_empty_masks_and_ids_like_numbers_read_back(cell, dataset):
    table = pd.read_csv(cell / "scores.csv", dtype=str, keep_default_na=False)
    table.loc[0, ["case_id", "dice", "rms_dta_cm", "smd_hu"]] = ["007", "0.0", "inf", ""]
    table.loc[1, "case_id"] = "NA"
    table.to_csv(cell / "scores.csv", index=False)
    found = read_scores(cell, dataset)
    assert found["case_id"].tolist()[:2] == ["007", "NA"]
    assert found["rms_dta_cm"][0] == np.inf
    assert np.isnan(found["smd_hu"][0])


def test_scores_of_a_former_edition_are_made_from_the_masks(cell, dataset):
    assert json.loads((cell / "DONE").read_text())["edition"] == EDITION
    expected = read_scores(cell, dataset)
    (cell / "scores.csv").write_text("case_id,dice\np8,0.5\n")
    with pytest.raises(ValueError, match=f"scores.csv is not whole; delete {cell} and train the cell again"):
        read_scores(cell, dataset)
    (cell / "DONE").write_text(json.dumps({"edition": EDITION - 1}))
    pd.testing.assert_frame_equal(read_scores(cell, dataset), expected, check_exact=True)


def test_why_a_cell_failed(tmp_path):
    assert cell_run.read_failure(tmp_path) == ""
    (tmp_path / "FAILED").write_text("the loss is not\nfinite\n")
    assert cell_run.read_failure(tmp_path) == "the loss is not finite"
