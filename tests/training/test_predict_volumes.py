"""Whole scans by windows: what comes back lies where it was seen, whatever was asked for."""

import json

import jax
import numpy as np
import pytest

from mskjax import convert, models, tasks
from mskjax.data.volume_grid import lay
from mskjax.training import load_run
from mskjax.training.predict_volumes import VolumePredictor, load_volume_run, needed_planes

OWN_MM = np.array([3.0, 1.5, 1.5])
GRID_MM = (1.5, 1.5, 3.0)
TINY = {"name": "smit_segmenter", "num_classes": 2, "stage_sizes": [1, 1, 1, 1], "width": 8}
TASK = {"name": "volume_segmentation", "model": TINY, "augmentation": {}, "freeze": []}


def scan(shape=(13, 30, 26), seed=0):
    """Coarse noise from -100 to 200 HU in the midst of air."""
    rng, image_hu = np.random.default_rng(seed), np.full(shape, -1000, np.int16)
    d, h, w = (length - 6 for length in shape)
    blocks = rng.integers(-100, 200, (d, -(-h // 4), -(-w // 4)))
    image_hu[3:-3, 3:-3, 3:-3] = blocks.repeat(4, 1).repeat(4, 2)[:, :h, :w]
    return image_hu


@jax.jit
def above_0_hu(variables, image_hu):
    return (image_hu > 0).astype("float32")


@jax.jit
def own_mean(variables, image_hu):
    """Each window says its mean: all that is in it counts."""
    return 0 * image_hu.astype("float32") + image_hu.mean((1, 2, 3), keepdims=True)


def toy(forward=above_0_hu, spacing_mm=GRID_MM, **options):
    return VolumePredictor(forward, {}, 8, spacing_mm, **options)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_mask_comes_back_where_it_was_seen(batch_size):
    """On the run's own spacing nothing is interpolated: a threshold of the scan is found voxel for voxel."""
    image_hu = scan()
    found = toy(batch_size=batch_size)(image_hu, OWN_MM, range(13))
    assert (found.shape, found.dtype) == (image_hu.shape, np.float32)
    np.testing.assert_array_equal(found, image_hu > 0)


def test_a_slab_at_another_spacing_comes_back_in_place():
    """A body of 100 HU from slice 4 up, row 8 down and column 14 left, to a voxel of either grid."""
    image_hu = np.full((20, 32, 28), -1000, np.int16)
    image_hu[4:12, 8:24, 6:15] = 100
    found = toy(spacing_mm=(2.0, 2.5, 2.0))(image_hu, np.array([3.0, 1.25, 1.0]), range(20)) > 0.5
    (d, h, w), count = np.nonzero(found), found.sum()
    np.testing.assert_allclose([d.mean(), h.mean(), w.mean()], [7.5, 15.5, 10], atol=0.75)
    assert count == pytest.approx(8 * 16 * 9, rel=0.2)


@pytest.mark.parametrize("chosen", [range(6, 7), range(5), range(9, 13), range(2), range(11, 13)])
@pytest.mark.parametrize(("spacing_mm", "level"), [(GRID_MM, None), ((2.0, 2.0, 1.25), None), ((2.0, 2.0, 1.25), 7)])
def test_slices_asked_for_are_those_of_the_whole(chosen, spacing_mm, level):
    image_hu, predictor = scan(), toy(own_mean, spacing_mm)
    whole = predictor(image_hu, OWN_MM, range(13), level)
    found = predictor(image_hu, OWN_MM, chosen, level)
    part = slice(chosen.start, chosen.stop)
    np.testing.assert_array_equal(found[part], whole[part])
    assert not np.delete(found, np.arange(13)[part], axis=0).any()


def test_fewer_windows_are_seen_for_fewer_slices():
    seen = []

    def forward(variables, image_hu):
        seen.append(image_hu.shape)
        return above_0_hu(variables, image_hu)

    image_hu = scan((40, 12, 12))
    toy(forward)(image_hu, OWN_MM, range(40))
    whole = len(seen)
    toy(forward)(image_hu, OWN_MM, range(20, 21))
    assert seen[0] == (1, 8, 8, 8)
    assert len(seen) - whole == 2 < whole


def test_outside_the_body_is_nothing():
    found = toy(lambda variables, image_hu: above_0_hu(variables, image_hu * 0 + 9))(scan(), OWN_MM, range(13))
    expected = np.zeros(found.shape)
    expected[3:-3, 3:-3, 3:-3] = 1
    np.testing.assert_array_equal(found, expected)


def test_the_networks_axes_are_those_of_ras():
    """What lies on the patient's right, in front and at the head is at the ends of i, j and k."""
    image_hu, seen = np.full((8, 8, 8), 0, np.int16), []
    image_hu[-1, 0, 0] = 1000  # at the head, in front, and in the column that is the patient's right

    def forward(variables, window):
        seen.append(np.asarray(window))
        return above_0_hu(variables, window)

    toy(forward)(image_hu, OWN_MM, range(8))
    assert np.unravel_index(seen[0][0].argmax(), (8, 8, 8)) == (7, 7, 7)


def test_what_is_beyond_a_small_scan_is_air():
    seen = []

    def forward(variables, window):
        seen.append(np.asarray(window))
        return above_0_hu(variables, window)

    toy(forward)(np.full((8, 8, 4), 40, np.int16), OWN_MM, range(8))
    assert seen[0][0, :, 0, 0].tolist() == [-1024] * 2 + [40] * 4 + [-1024] * 2


def test_planes_of_a_volume_that_is_cut_to_the_body():
    grid = lay((13, 4, 4), OWN_MM, (3.0, 1.5, 1.5))
    box = (slice(3, 10), slice(0, 4), slice(0, 4))
    assert needed_planes(grid, box, range(5, 6)) == slice(2, 3)
    assert needed_planes(grid, box, range(13)) == slice(0, 7)
    assert needed_planes(grid, box, range(9, 13)) == slice(6, 7)
    assert needed_planes(grid, box, range(10, 13)) is None
    assert needed_planes(grid, box, range(3)) is None


def test_scans_that_cannot_be_seen_are_refused():
    with pytest.raises(ValueError, match="the scan is a single slice; give the whole scan, or a run"):
        toy()(scan()[6:7], OWN_MM, range(1))
    with pytest.raises(ValueError, match="no voxel is above -175 HU"):
        toy()(np.full((9, 9, 9), -1000, np.int16), OWN_MM, range(9))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a run with fresh weights."""
    folder = tmp_path_factory.mktemp("volumes") / "run"
    module = models.build(**{**TINY, "stage_sizes": (1, 1, 1, 1)})
    variables = models.init(module, jax.random.key(0), jax.ShapeDtypeStruct((1, 32, 32, 32, 1), np.float32))
    (folder / "best").mkdir(parents=True)
    convert.save_variables(folder / "best" / "variables.safetensors", variables, {})
    config = {"task": TASK, "image_size": 32, "spacing_mm": [2.0, 2.0, 3.0], "overlap": 0.5}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "DONE").touch()
    return folder


def test_a_run_is_as_its_config_says(run):
    predictor = load_volume_run(run)
    assert (predictor.side, predictor.spacing_mm, predictor.overlap) == (32, (2.0, 2.0, 3.0), 0.5)
    image_hu = scan((12, 34, 30))
    found = predictor(image_hu, OWN_MM, range(5, 7))
    assert 0 < found[5].max() < 1
    task = tasks.build(TASK)
    state = {name: values for name, values in predictor.variables.items() if name != "params"}
    window = jax.random.randint(jax.random.key(1), (1, 32, 32, 32), -200, 300, np.int16)
    expected = jax.jit(task.predict)(predictor.variables["params"], state, window)
    np.testing.assert_allclose(predictor.on_grid(np.asarray(window[0])), expected[0], atol=1e-5)


def test_runs_of_slices_and_of_volumes_are_told_apart(run, tmp_path):
    with pytest.raises(ValueError, match="has learned volumes and predicts whole scans; name a run that has learned s"):
        load_run(run)
    with pytest.raises(ValueError, match="is no run that has learned volumes"):
        load_volume_run(tmp_path)
