"""Which differences between a run and its export are counted, and which are refused."""

import numpy as np
import pytest

from mskjax.export.verification import compare

SPACING = np.array([[1.0, 2.0]])


def outputs(logits):
    """What a network with these logits [h, w] gives on its own grid, without bone."""
    logits = np.asarray(logits, np.float64)[None]
    mask = logits > 0
    area = mask.sum((1, 2)) * 2 / 100
    return {"logits": logits, "probability": 1 / (1 + np.exp(-logits)), "mask": mask, "area_cm2": area}


EXPECTED = outputs([[3.0, -2.0], [5e-5, -60.0]])


def test_equal_outputs_agree():
    agreement = compare(EXPECTED, outputs([[3.0, -2.0], [5e-5, -60.0]]), SPACING)
    assert (agreement.logit_error, agreement.mask_differs, agreement.area_error_cm2) == (0, 0, 0)
    assert (agreement.slices, agreement.pixels, agreement.near_half, agreement.largest_logit) == (1, 4, 1, 60)


def test_a_pixel_near_one_half_may_differ_and_is_counted():
    agreement = compare(EXPECTED, outputs([[3.0, -2.0], [-3e-5, -60.0]]), SPACING)
    assert (agreement.near_half, agreement.mask_differs) == (1, 1)
    assert agreement.area_error_cm2 == pytest.approx(0.02)
    assert agreement.logit_error == pytest.approx(8e-5)


@pytest.mark.parametrize("error", [2e-4, np.nan, np.inf])
def test_logits_that_differ_are_refused_and_told_by_how_much(error):
    wrong = np.where(EXPECTED["logits"] == 3, EXPECTED["logits"] + error, EXPECTED["logits"])
    with pytest.raises(ValueError, match=rf"logits differ from the run's: one of 3 by {error:g}, where 0\.0001 is"):
        compare(EXPECTED, {**EXPECTED, "logits": wrong}, SPACING)


def test_probabilities_that_no_such_logit_has_are_refused():
    # They alone are what launch.measure takes of a program. A logit of 1e-4 has the probability 0.500025.
    held = {**EXPECTED, "probability": EXPECTED["probability"] + 2.5e-5}
    assert compare(EXPECTED, held, SPACING).probability_error == pytest.approx(2.5e-5)
    for error in (3e-5, np.nan):
        with pytest.raises(ValueError, match=r"probabilities differ from the run's by up to .* more than 2\.6e-05"):
            compare(EXPECTED, {**EXPECTED, "probability": EXPECTED["probability"] + error}, SPACING)


def test_logits_that_float32_cannot_hold_to_it_are_held_to_what_it_can():
    far = outputs([[300.0, -2.0]])
    compare(far, outputs([[300.0005, -2.0]]), SPACING)
    with pytest.raises(ValueError, match=r"one of 300 by 0\.00061, where 0\.0006 is allowed"):
        compare(far, outputs([[300.00061, -2.0]]), SPACING)


def test_another_mask_elsewhere_is_refused():
    found = {**EXPECTED, "mask": ~EXPECTED["mask"]}
    with pytest.raises(ValueError, match="mask differs in 3 pixels"):
        compare(EXPECTED, found, SPACING)


def test_another_area_of_the_same_mask_is_refused():
    with pytest.raises(ValueError, match=r"areas differ by 0\.01 cm2"):
        compare(EXPECTED, {**EXPECTED, "area_cm2": EXPECTED["area_cm2"] + 0.01}, SPACING)
    with pytest.raises(ValueError, match="areas differ"):
        compare(EXPECTED, {**EXPECTED, "area_cm2": np.array([np.nan])}, SPACING)
