"""Phantoms are as plausible as they claim: sizes, HU, orientation, and the level of their simulated readers."""

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from mskjax.data import phantom
from mskjax.data.anatomy.canvas import Canvas, Waves, capsule, ellipse, union
from mskjax.data.anatomy.muscles import MUSCLE_LABELS
from mskjax.data.anatomy.organs import ORGAN_LABELS
from mskjax.data.anatomy.patient import VERTEBRA_LABELS


@cache
def many() -> phantom.Phantom:
    return phantom.slices(30, 96)


@cache
def volume() -> phantom.Phantom:
    return phantom.volumes(1, (34, 64, 64), (9, 6.5, 6.5), seed=3)


def centre_of(labels: np.ndarray, label: int) -> np.ndarray:
    return np.argwhere(labels == label).mean(axis=0)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_a_patient_is_the_same_in_any_number_of_them():
    few, more = phantom.slices(2, 64, seed=5), phantom.slices(3, 64, seed=5)
    for name in ("image_hu", "mask", "labels", "spacing_mm", "area_cm2", "density_hu", "sex", "height_m"):
        np.testing.assert_array_equal(getattr(few, name), getattr(more, name)[:2])


def test_patients_and_seeds_differ():
    one, other = phantom.slices(2, 64, seed=5), phantom.slices(1, 64, seed=6)
    assert (one.mask[0] != one.mask[1]).any()
    assert (one.mask[0] != other.mask[0]).any()


def test_known_area_and_density_are_those_of_the_mask():
    p = many()
    for i in range(5):
        row_mm, column_mm = p.spacing_mm[i]
        assert p.area_cm2[i] == pytest.approx(p.mask[i].sum() * row_mm * column_mm / 100)
        assert p.density_hu[i] == pytest.approx(p.image_hu[i][p.mask[i] == 1].mean())


def test_area_hardly_depends_on_resolution():
    coarse, fine = phantom.slices(2, 160), phantom.slices(2, 320)
    np.testing.assert_allclose(coarse.area_cm2, fine.area_cm2, rtol=0.02)


@pytest.mark.parametrize(("sex", "low", "high", "mean"), [("M", 105, 215, 160), ("F", 65, 150, 108)])
def test_muscle_area_is_that_of_adults(sex, low, high, mean):
    area = many().area_cm2[many().sex == sex]
    assert len(area) > 8
    assert low < area.min() and area.max() < high
    assert abs(area.mean() - mean) < 12


def test_muscle_density_is_that_of_adults():
    density = many().density_hu
    assert density.min() > 0 and density.max() < 62
    assert 30 < density.mean() < 50
    assert density.std() > 4


def test_every_muscle_is_there_on_both_sides():
    trunk = [name for name in MUSCLE_LABELS if not name.startswith("gluteus")]
    for labels in many().labels:
        for name in trunk:
            column = centre_of(labels, MUSCLE_LABELS[name])[1]
            assert (column > 48) == name.endswith("left"), name


def test_seen_as_a_radiologist_does():
    labels = volume().labels[0]
    spine, aorta, cava = (centre_of(labels, n) for n in (29, ORGAN_LABELS["aorta"], ORGAN_LABELS["cava"]))
    liver, erector = centre_of(labels, ORGAN_LABELS["liver"]), centre_of(labels, MUSCLE_LABELS["erector_left"])
    rectus = centre_of(labels, MUSCLE_LABELS["rectus_left"])
    assert rectus[1] < aorta[1] < spine[1] < erector[1]
    assert liver[2] < cava[2] < aorta[2]


def test_a_volume_shows_the_spine_from_s1_to_t11_upwards():
    labels = volume().labels[0]
    heights = [
        centre_of(labels, VERTEBRA_LABELS[name])[0] for name in ("S1", "L5", "L4", "L3", "L2", "L1", "T12", "T11")
    ]
    assert (np.diff(heights) > 0).all()
    assert np.diff(heights).mean() * 9 == pytest.approx(34, abs=4)
    assert {77, 78, 92} <= set(np.unique(labels))


def test_volumes_know_the_area_of_each_slice():
    p = volume()
    assert p.spacing_mm.tolist() == [[9, 6.5, 6.5]]
    assert p.area_cm2.shape == (1, 34)
    np.testing.assert_allclose(p.area_cm2[0], p.mask[0].sum(axis=(1, 2)) * 6.5 * 6.5 / 100)
    assert p.density_hu[0] == pytest.approx(p.image_hu[0][p.mask[0] == 1].mean())


def test_bone_is_no_muscle_and_muscle_no_bone():
    p = many()
    assert np.mean(p.image_hu[p.mask == 1] > 175) < 0.01
    spine = np.isin(p.labels, list(VERTEBRA_LABELS.values()))
    assert np.mean(p.image_hu[spine]) > 175


def test_no_threshold_finds_the_muscle():
    p = many()
    for low in (-29, 0, 20):
        found = (p.image_hu > low) & (p.image_hu < 150)
        smooth = np.stack([ndimage.binary_opening(f) for f in found])
        assert max(dice(found, p.mask == 1), dice(smooth, p.mask == 1)) < 0.85


def test_air_and_noise_are_those_of_ct():
    image = many().image_hu
    assert image.dtype == np.int16 and image.min() >= -1024
    corner = image[:, :6, :6].astype(float)
    assert corner.mean() == pytest.approx(-1000, abs=5)
    assert 4 < corner.std() < 20


def test_readers_agree_with_the_truth_about_as_radiographers_do():
    """Study A prints DSC 0.901 and RMS-DTA 0.318 cm of ten radiographers against their expert."""
    p = phantom.slices(4, seed=1)
    outlines = phantom.observers(p)
    assert outlines.shape == (10, 4, 256, 256) and outlines.dtype == np.uint8
    scores = [
        (dice(o[i] == 1, p.mask[i] == 1), rms_dta_cm(o[i], p.mask[i], p.spacing_mm[i]))
        for o in outlines
        for i in range(4)
    ]
    overlap, distance_cm = np.mean(scores, axis=0)
    assert overlap == pytest.approx(0.901, abs=0.025)
    assert distance_cm == pytest.approx(0.318, abs=0.12)


def rms_dta_cm(drawn: np.ndarray, true: np.ndarray, spacing_mm: np.ndarray) -> float:
    edges = [m & ~ndimage.binary_erosion(m) for m in (drawn == 1, true == 1)]
    away = ndimage.distance_transform_edt(~edges[1], sampling=spacing_mm)[edges[0]]
    return float(np.sqrt(np.mean(away**2)) / 10)


def test_readers_are_persons():
    p, first = phantom.slices(2, 96), phantom.slices(1, 96)
    two, three = phantom.observers(p, 2), phantom.observers(p, 3)
    np.testing.assert_array_equal(two, three[:2])
    np.testing.assert_array_equal(two[:, :1], phantom.observers(first, 2))
    assert (two[0] != two[1]).any()
    assert (phantom.observers(p, 2, seed=1) != two).any()


def test_what_cannot_be_made_is_refused():
    with pytest.raises(ValueError, match="ask for 1 or more"):
        phantom.slices(0)
    with pytest.raises(ValueError, match="outline slices, not volumes"):
        phantom.observers(volume())


def grid(pixel_mm: float = 0.5) -> Canvas:
    x, y = np.meshgrid(*[np.arange(-30, 30.1, pixel_mm, dtype=np.float32)] * 2)
    empty = np.zeros_like(x)
    return Canvas(x, y, empty.copy(), empty.astype(np.uint8), empty, empty, pixel_mm)


def test_distances_to_shapes():
    c = grid()
    circle = np.hypot(c.x - 3, c.y + 4) - 10
    np.testing.assert_allclose(ellipse(c, (3, -4), (10, 10), 33), circle, atol=2e-5)
    np.testing.assert_allclose(capsule(c, (3, -4), (3, -4), 10), circle, atol=2e-5)
    edge = ellipse(c, (0, 0), (20, 8), 30)
    along = np.deg2rad(30)
    tip = np.hypot(c.x - 20 * np.cos(along), c.y - 20 * np.sin(along)).argmin()
    assert abs(edge.flat[tip]) < 0.5
    far = union(ellipse(c, (-20, 0), (5, 5)), ellipse(c, (20, 0), (5, 5)))
    np.testing.assert_allclose(far[:, :40], ellipse(c, (-20, 0), (5, 5))[:, :40], atol=1e-5)


def test_painting_mixes_at_edges_and_labels_by_centres():
    c = grid()
    c.paint(c.x - np.float32(0.125), 100.0, 7)
    row, at = c.hu[0], np.flatnonzero(c.x[0] == 0)[0]
    assert row[at - 1] == 100 and row[at + 1] == 0
    assert row[at] == pytest.approx(75)
    assert c.label[0, at] == 7 and c.label[0, at + 1] == 0


def test_random_fields_are_standard_and_smooth():
    waves = Waves.draw(np.random.default_rng(0), 200, (8, 20))
    x = np.arange(0, 600, 1.5)
    values = waves(x, x, 0.0)
    assert abs(values.mean()) < 0.05 and values.std() == pytest.approx(1, abs=0.1)
    near = np.float32(waves(x, x, 0.5))
    assert np.corrcoef(values.ravel(), near.ravel())[0, 1] > 0.9
    k = waves.rad_per_mm
    expected = np.sqrt(2 / 200) * np.cos(k[:, 0] * x[7] + k[:, 1] * x[3] + k[:, 2] * 0.5 + waves.phase).sum()
    assert near[3, 7] == pytest.approx(expected, abs=1e-3)


def test_a_volume_of_a_later_patient_is_the_same_alone():
    pair, alone = (
        phantom.volumes(2, (1, 32, 32), (3.0, 12.0, 12.0)),
        phantom.volumes(1, (1, 32, 32), (3.0, 12.0, 12.0), first=1),
    )
    np.testing.assert_array_equal(pair.image_hu[1], alone.image_hu[0])
    assert not np.array_equal(pair.image_hu[0], alone.image_hu[0])
