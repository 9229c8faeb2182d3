"""One scan, stored in each of the 48 ways a grid can lie along the patient's axes: the same muscle every time."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from mskjax import models
from mskjax.data import phantom
from mskjax.data.augment import Augmentation
from mskjax.data.orientation import to_axial
from mskjax.data.reading import read_image
from mskjax.study import scan_folder
from mskjax.study.scan import measure_scan
from mskjax.tasks import Segmentation
from mskjax.training.predict import Predictor
from mskjax.training.predict_volumes import VolumePredictor

ORIENTATIONS = [
    "".join(letters) for axes in itertools.permutations(("RL", "AP", "IS")) for letters in itertools.product(*axes)
]


@pytest.fixture(autouse=True)
def unpainted(monkeypatch):
    """Pictures take longer than all else, and are not what is looked at here."""
    monkeypatch.setattr(scan_folder, "overlay", lambda *_: Image.new("L", (1, 1)))


@pytest.fixture(scope="module")
def scan():
    """Three slices of anisotropic voxels, off the origin, of a phantom whose left and right differ."""
    patient = phantom.volumes(1, (3, 40, 48), (4.0, 10.0, 9.0))
    image = sitk.GetImageFromArray(patient.image_hu[0])
    image.SetSpacing((9.0, 10.0, 4.0))
    image.SetOrigin((-31.0, 17.0, 250.0))
    return image


@pytest.fixture(scope="module")
def predictor():
    """A network with fresh weights: what it predicts means nothing, and changes when the image is turned."""
    module = models.build("fcn_resnet101", num_classes=1, stage_sizes=(1, 1, 1, 1), width=4)
    variables = models.init(module, jax.random.key(0), jax.ShapeDtypeStruct((1, 48, 48, 3), np.float32))
    task = Segmentation(module, Augmentation())

    @jax.jit
    def forward(variables, image_hu):
        probability = task.predict(variables["params"], {"batch_stats": variables["batch_stats"]}, image_hu)
        middle = jnp.median(probability, axis=(1, 2), keepdims=True)
        return probability - middle + 0.5  # about half of all pixels are "muscle"

    return Predictor(forward, variables, 48)


@pytest.fixture(scope="module")
def volume_predictor():
    """Calls muscle what is darker than what lies next to it to the right, in front and above: no axis is like another.

    Its voxels are no multiples of the scan's.
    """

    @jax.jit
    def forward(variables, image_hu):
        hu = image_hu.astype(jnp.float32)
        return jax.nn.sigmoid((sum(jnp.roll(hu, -1, axis) * axis for axis in (1, 2, 3)) - 6 * hu) / 100)

    return VolumePredictor(forward, {}, 16, (5.0, 7.0, 4.0))


def measured(image, folder, predictor, orientation, slices="1"):
    path = folder / f"{orientation}.nii.gz"
    sitk.WriteImage(sitk.DICOMOrient(image, orientation), str(path))
    measurement = measure_scan(path, folder / orientation, slices=slices, predictor=predictor, run=folder, height_m=1.7)
    stored = read_image(path)
    written = sitk.ReadImage(str(folder / orientation / "mask.nii.gz"))
    assert written.GetSize() == stored.GetSize()
    assert written.GetDirection() == pytest.approx(stored.GetDirection())
    return measurement.rows, to_axial(written)[0]


def test_there_are_48():
    assert len(set(ORIENTATIONS)) == 48


def test_mask_and_area_do_not_depend_on_how_the_scan_is_stored(scan, predictor, tmp_path):
    rows, mask = measured(scan, tmp_path, predictor, "LPS")
    assert 0.1 < mask[1].mean() < 0.9
    assert not np.array_equal(mask[1], mask[1][:, ::-1])
    for orientation in ORIENTATIONS:
        other_rows, other_mask = measured(scan, tmp_path, predictor, orientation)
        np.testing.assert_array_equal(other_mask, mask, err_msg=orientation)
        assert other_rows[0]["sma_cm2"] == pytest.approx(rows[0]["sma_cm2"], rel=1e-6), orientation
        assert other_rows[0]["smd_hu"] == rows[0]["smd_hu"], orientation


def test_volume_and_areas_of_a_whole_scan_do_not_either(scan, volume_predictor, tmp_path):
    rows, mask = measured(scan, tmp_path, volume_predictor, "LPS", None)
    assert len(rows) == 3 and all(0.01 < plane.mean() < 0.9 for plane in mask)
    assert not any(np.array_equal(mask, np.flip(mask, axis)) for axis in range(3))
    for orientation in ORIENTATIONS:
        other_rows, other_mask = measured(scan, tmp_path, volume_predictor, orientation, None)
        np.testing.assert_array_equal(other_mask, mask, err_msg=orientation)
        for row, other in zip(rows, other_rows, strict=True):
            assert other["sma_cm2"] == pytest.approx(row["sma_cm2"], rel=1e-6), orientation
            assert other["smd_hu"] == row["smd_hu"], orientation
