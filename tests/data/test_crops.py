"""Cubes of a volume whose values tell where they lie."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from mskjax.data.crops import outlined, views
from mskjax.data.dataset import AIR_HU
from mskjax.data.volume_grid import UNKNOWN
from mskjax.training import sliding_window

SIDE, REGION, CENTRE = 6, 8, 3  # as 96 of 128
DRAWS = 300


def coded(*shape):
    """A volume [i, j, k] of the values 1600 i + 40 j + k."""
    i, j, k = np.indices(shape)
    return (1600 * i + 40 * j + k).astype(np.int16)


def start(cube):
    """Where a cube begins whose first voxel is in the volume."""
    first = int(cube[0, 0, 0])
    return np.array([first // 1600, first // 40 % 40, first % 40])


def drawn(function, *arguments):
    return [function(*arguments, SIDE, np.random.default_rng(number)) for number in range(DRAWS)]


def part(volume, first, side=SIDE, fill=AIR_HU):
    """What a cube from `first` on holds, by numpy's own padding."""
    padded = np.pad(volume, side, constant_values=fill)
    return padded[tuple(slice(place + side, place + 2 * side) for place in first)]


def test_two_views_lie_in_one_region_that_lies_anywhere_in_the_volume():
    shape = np.array([9, 10, 12])
    starts = np.array([[start(view) for view in pair] for pair in drawn(views, coded(*shape))])
    assert starts.min() == 0
    np.testing.assert_array_equal(starts.max((0, 1)), shape - SIDE)
    apart = starts[:, 0] - starts[:, 1]
    np.testing.assert_array_equal(apart.min(0), SIDE - REGION)
    np.testing.assert_array_equal(apart.max(0), REGION - SIDE)
    for pair in drawn(views, coded(*shape)):
        for view in pair:
            np.testing.assert_array_equal(view, part(coded(*shape), start(view)))


def test_views_of_volumes_shorter_than_a_region_are_surrounded_by_air():
    """The volume lies in the middle of the region: 3 voxels from its third on, and 7 from its first."""
    volume = coded(3, 7, 12) + 1
    found = set()
    allowed = list(itertools.product(range(-2, 1), range(3), range(7)))
    cubes = {part(volume, first).tobytes(): first for first in allowed}
    assert len(cubes) == len(allowed)
    for pair in drawn(views, volume):
        found |= {cubes[view.tobytes()] for view in pair}
    assert {first[:2] for first in found} == {first[:2] for first in allowed}


SHAPE, PLANE = (18, 20, 30), 11


@pytest.fixture(scope="module")
def block():
    """A mask in the middle of a plane, in which a cube has its centre without leaving the volume."""
    mask = np.zeros((1, *SHAPE[:2]), np.uint8)
    mask[0, 7:11, 8:13] = 1
    return mask


def test_labels_land_on_their_plane_and_only_there(block):
    volume, planes = coded(*SHAPE), np.array([PLANE], np.int32)
    depths = set()
    for image_hu, label in drawn(outlined, volume, planes, block):
        first = start(image_hu)
        np.testing.assert_array_equal(image_hu, part(volume, first))
        depth = PLANE - first[2]
        np.testing.assert_array_equal(label[:, :, depth], part(block[0], first[:2]))
        assert (np.delete(label, depth, axis=2) == UNKNOWN).all()
        depths.add(depth)
    assert depths == set(range(SIDE)), "the plane is anywhere in the cube"


def test_cubes_are_centred_on_muscle_and_beside_it_equally_often(block):
    planes = np.array([PLANE], np.int32)
    starts, centres = [], []
    for image_hu, label in drawn(outlined, coded(*SHAPE), planes, block):
        first = start(image_hu)
        starts.append(first)
        centres.append(label[CENTRE, CENTRE, PLANE - first[2]])
    assert 0.4 < np.mean(centres) < 0.6
    muscle = {tuple(first[:2] + CENTRE) for first, centre in zip(starts, centres, strict=True) if centre}
    assert muscle == {(i, j) for i, j in np.argwhere(block[0])}, "every voxel of the muscle"
    np.testing.assert_array_equal(np.min(starts, 0)[:2], [0, 0])
    np.testing.assert_array_equal(np.max(starts, 0)[:2], np.array(SHAPE[:2]) - SIDE)


def test_every_outlined_plane_is_taken_and_all_within_the_cube_are_labelled():
    planes = np.array([3, 4, 6, 25], np.int32)
    masks = np.stack([np.full(SHAPE[:2], number % 2, np.uint8) for number in range(4)])
    lone = 0
    for image_hu, label in drawn(outlined, coded(*SHAPE), planes, masks):
        first = start(image_hu)[2]
        expected = np.full(SIDE, UNKNOWN)
        for number, plane in enumerate(planes):
            if first <= plane < first + SIDE:
                expected[plane - first] = number % 2
        np.testing.assert_array_equal(label, np.broadcast_to(expected, label.shape))
        lone += expected[: 26 - first].tolist().count(1) == 1 and first > 6
    assert 0.15 < lone / DRAWS < 0.35


@pytest.mark.parametrize(("plane", "starts"), [(0, {0}), (1, {0, 1}), (29, {24}), (28, {23, 24})])
def test_cubes_do_not_leave_the_volume_at_its_ends(plane, starts, block):
    found = drawn(outlined, coded(*SHAPE), np.array([plane], np.int32), block)
    assert {int(start(image_hu)[2]) for image_hu, _ in found} == starts


@pytest.mark.parametrize("filled", [0, 1])
def test_planes_without_muscle_or_without_background_are_centred_on_their_middle(filled):
    masks = np.full((1, *SHAPE[:2]), filled, np.uint8)
    found = [start(image_hu)[:2] for image_hu, _ in drawn(outlined, coded(*SHAPE), np.array([9], np.int32), masks)]
    middle = [np.array_equal(first, [9 - CENTRE, 10 - CENTRE]) for first in found]
    assert 0.4 < np.mean(middle) < 0.6, "where there is nothing to draw from; elsewhere anywhere"


@pytest.mark.parametrize("shape", [(5, 4, 3), (3, 6, 2), (1, 1, 1)])
def test_short_volumes_lie_where_windows_of_prediction_have_them(shape):
    volume, seen = coded(*shape), []

    def forward(windows):
        seen.append(windows)
        return jnp.asarray(windows[..., None], jnp.float32)

    sliding_window.predict(forward, volume, SIDE, padding=AIR_HU)
    window = np.where(np.arange(SIDE) == (SIDE - shape[2]) // 2 + shape[2] - 1, 1, UNKNOWN)
    inside = part(np.ones(shape[:2], np.uint8), [-((SIDE - length) // 2) for length in shape[:2]], fill=UNKNOWN)
    planes, masks = np.array([shape[2] - 1], np.int32), np.ones((1, *shape[:2]), np.uint8)
    for image_hu, label in drawn(outlined, volume, planes, masks)[:5]:
        np.testing.assert_array_equal(image_hu, seen[0][0])
        np.testing.assert_array_equal(label, np.where(inside[..., None] == 1, window, UNKNOWN))


def test_a_cube_is_a_function_of_its_generator(block):
    planes = np.array([PLANE], np.int32)
    for function, arguments in ((views, (coded(*SHAPE),)), (outlined, (coded(*SHAPE), planes, block))):
        first, again, other = (function(*arguments, SIDE, np.random.default_rng(seed)) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)
