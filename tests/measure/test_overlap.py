import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mskjax.measure import dice

masks = hnp.arrays(bool, (5, 6))


def square(size=64, rows=(16, 48), columns=(16, 48)):
    mask = np.zeros((size, size), np.uint8)
    mask[slice(*rows), slice(*columns)] = 1
    return mask


def test_a_shifted_square():
    assert dice(square(), square(rows=(18, 48), columns=(16, 52))) == 2 * 30 * 32 / (32 * 32 + 30 * 36)


def test_volumes_pool_their_slices():
    volume = np.stack([square(), np.zeros((64, 64), np.uint8)])
    assert dice(volume, np.stack([square(), square()])) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("one", "other", "expected"), [(0, 0, 1), (0, 1, 0), (1, 0, 0), (1, 1, 1)])
def test_empty_and_full(one, other, expected):
    assert dice(np.full((3, 4), one), np.full((3, 4), other)) == expected


@given(masks, masks)
def test_between_0_and_1_and_the_same_both_ways(one, other):
    assert 0 <= dice(one, other) == dice(other, one) <= 1
    assert dice(one, one) == 1


@given(masks, st.sampled_from([np.uint8, np.int64, np.float32]))
def test_every_number_type_means_the_same(mask, kind):
    assert dice(mask.astype(kind), mask) == 1


@pytest.mark.parametrize(
    ("prediction", "reference", "sentence"),
    [
        (np.zeros((4, 4)), np.zeros((4, 5)), r"\(4, 4\).*\(4, 5\)"),
        (np.full((4, 4), 255), np.zeros((4, 4)), "the prediction holds 255"),
        (np.zeros((4, 4)), np.full((4, 4), 0.5), "the reference holds 0.5"),
        (np.zeros((4, 4)), np.full((4, 4), np.nan), "the reference holds nan"),
        (np.zeros(4), np.zeros(4), "one slice"),
    ],
)
def test_refusals(prediction, reference, sentence):
    with pytest.raises(ValueError, match=sentence):
        dice(prediction, reference)
