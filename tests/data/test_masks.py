"""Label maps land on the image's own voxels, in any storage order, or are refused with both grids."""

import gzip
import itertools
import logging

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import body_hu, write_series
from PIL import Image

from mskjax.data.grids import TOLERANCE_VOXELS
from mskjax.data.masks import read_mask
from mskjax.data.orientation import slice_positions_mm
from mskjax.data.reading import read_image
from mskjax.data.writing import write_mask

LABELS = np.zeros((4, 6, 5), np.uint8)  # [k, j, i], no two axes or ends alike
LABELS[0, 1, 2], LABELS[1, :3, 1], LABELS[3, 5, 3:] = 1, 2, 7


def image(values: np.ndarray = LABELS) -> sitk.Image:
    made = sitk.GetImageFromArray(values)
    made.SetSpacing((0.8, 0.9, 3.0))
    made.SetOrigin((-120.5, 33.25, -700.0))
    return made


def turned(values: np.ndarray, degrees: float) -> sitk.Image:
    made = image(values)
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    made.SetDirection((c, -s, 0, s, c, 0, 0, 0, 1))
    return made


def write(path, made: sitk.Image):
    sitk.WriteImage(made, str(path))
    return path


def values(mask: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(mask)


def grid(made: sitk.Image) -> tuple:
    return made.GetSize(), made.GetSpacing(), made.GetOrigin(), made.GetDirection()


ORIENTATIONS = [
    "".join(ends) for order in itertools.permutations(("RL", "AP", "IS")) for ends in itertools.product(*order)
]


def test_a_mask_stored_in_any_of_the_48_orientations_is_the_same(tmp_path):
    like = turned(np.zeros(LABELS.shape, np.int16), 8.0)
    stored = turned(LABELS, 8.0)
    for code in ORIENTATIONS:
        path = write(tmp_path / f"{code}.nrrd", sitk.DICOMOrient(stored, code))
        mask = read_mask(path, like, [1, 7])
        np.testing.assert_array_equal(values(mask), np.isin(LABELS, (1, 7)), err_msg=code)
        assert grid(mask) == grid(like)
        assert mask.GetPixelID() == sitk.sitkUInt8


def test_an_image_in_any_of_the_48_orientations_gets_the_same_mask(tmp_path):
    path = write(tmp_path / "mask.nii.gz", image())
    for code in ORIENTATIONS:
        like = sitk.DICOMOrient(image(np.zeros(LABELS.shape, np.int16)), code)
        back = sitk.DICOMOrient(read_mask(path, like, 2), "LPS")
        np.testing.assert_array_equal(values(back), LABELS == 2, err_msg=code)


def test_rounding_passes_and_the_grid_is_the_images(tmp_path):
    like, stored = image(), image()
    stored.SetOrigin((-120.5 + 0.5 * TOLERANCE_VOXELS * 0.8, 33.25, -700.0))
    mask = read_mask(write(tmp_path / "mask.nii", stored), like, 1)
    assert grid(mask) == grid(like)


@pytest.mark.parametrize("what", ["spacing", "origin", "direction", "size"])
def test_another_grid_is_refused_with_both(tmp_path, what):
    stored = image()
    if what == "spacing":
        stored.SetSpacing((0.8, 0.93, 3.0))
    elif what == "origin":
        stored.SetOrigin((-120.5, 33.25, -700.0 + 3.0))
    elif what == "direction":
        stored = turned(LABELS, 5.0)
    else:
        stored = stored[:, :, :3]
    path = write(tmp_path / "mask.nii.gz", stored)
    with pytest.raises(ValueError, match=r"the grid of .*mask\.nii\.gz .* is not the image's .*resample") as refusal:
        read_mask(path, image(), 1)
    assert "size 5 6 4, spacing 0.8 0.9 3 mm, origin -120.5 33.25 -700 mm" in str(refusal.value)


def test_several_labels_and_none_named_are_listed(tmp_path):
    path = write(tmp_path / "mask.nii.gz", image())
    with pytest.raises(ValueError, match=r"holds 3 labels: 1, 2, 7; name the muscle"):
        read_mask(path, image())


def test_the_only_label_needs_no_name(tmp_path):
    path = write(tmp_path / "mask.nii.gz", image(np.where(LABELS == 7, 7, 0).astype(np.uint8)))
    np.testing.assert_array_equal(values(read_mask(path, image())), LABELS == 7)


@pytest.mark.parametrize(
    ("label", "numbers"),
    [(2, [2]), ("2", [2]), ([1, 7], [1, 7]), (["1", 2], [1, 2]), (np.int64(2), [2]), ([np.uint8(1), 7], [1, 7])],
)
def test_labels_are_numbers_texts_or_lists(tmp_path, label, numbers):
    path = write(tmp_path / "mask.nii.gz", image())
    np.testing.assert_array_equal(values(read_mask(path, image(), label)), np.isin(LABELS, numbers))


@pytest.mark.parametrize("label", [3, "psoas", 0, [1, 3]])
def test_a_label_that_is_not_there_is_refused_with_those_that_are(tmp_path, label):
    path = write(tmp_path / "mask.nii.gz", image())
    with pytest.raises(ValueError, match=r"has no label .*; it holds 1, 2, 7"):
        read_mask(path, image(), label)


def test_an_empty_list_of_labels_is_refused(tmp_path):
    with pytest.raises(ValueError, match="an empty list of labels"):
        read_mask(write(tmp_path / "mask.nii.gz", image()), image(), [])


def test_names_that_slicer_wrote_are_labels(tmp_path):
    stored = image()
    for n, (number, name) in enumerate({1: "Psoas", 2: "psoas left", 7: "PSOAS LEFT"}.items()):
        stored.SetMetaData(f"Segment{n}_LabelValue", str(number))
        stored.SetMetaData(f"Segment{n}_Name", name)
    path = write(tmp_path / "Segmentation.seg.nrrd", stored)
    np.testing.assert_array_equal(values(read_mask(path, image(), "psoas")), LABELS == 1)
    np.testing.assert_array_equal(values(read_mask(path, image(), "psoas left")), LABELS == 2)
    with pytest.raises(ValueError, match=r"'Psoas Left' fits labels 2 \(psoas left\), 7 \(PSOAS LEFT\)"):
        read_mask(path, image(), "Psoas Left")
    with pytest.raises(ValueError, match=r"1 \(Psoas\), 2"):
        read_mask(path, image())


def test_an_empty_mask_is_allowed_and_said(tmp_path, caplog):
    path = write(tmp_path / "mask.nii.gz", image(np.zeros_like(LABELS)))
    with caplog.at_level(logging.WARNING, "absl"):
        assert not values(read_mask(path, image())).any()
    assert "is empty" in caplog.text
    with pytest.raises(ValueError, match="no label 1; it holds no label at all"):
        read_mask(path, image(), 1)


def test_whole_numbers_may_be_stored_as_floats(tmp_path):
    path = write(tmp_path / "mask.nii.gz", image(LABELS.astype(np.float32)))
    np.testing.assert_array_equal(values(read_mask(path, image(), 2)), LABELS == 2)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (0.5, "fractions, as probabilities do, from 0 to 7"),
        (np.nan, "not finite"),
        (-3.0, "negative values, down to -3"),
    ],
)
def test_values_that_are_no_labels_are_refused(tmp_path, wrong, message):
    stored = LABELS.astype(np.float32)
    stored[2, 2, 2] = wrong
    with pytest.raises(ValueError, match=message):
        read_mask(write(tmp_path / "mask.nii.gz", image(stored)), image(), 1)


def test_files_that_are_no_masks_are_refused(tmp_path):
    slices = write_series(tmp_path / "series", body_hu())
    (tmp_path / "notes.txt").write_text("psoas")
    Image.fromarray(LABELS[0]).save(tmp_path / "mask.png")
    for path, message in {
        tmp_path / "notes.txt": "is no mask; give NIfTI",
        tmp_path / "mask.png": "or a pair of bitmaps",
        slices[0]: "is a DICOM object of CT and no mask",
    }.items():
        with pytest.raises(ValueError, match=message):
            read_mask(path, image())


def test_files_that_cannot_be_read_are_refused(tmp_path):
    for name, what in {"none.nii.gz": "is not there", ".": "is a folder"}.items():
        with pytest.raises(OSError, match=what):
            read_mask(tmp_path / name, image())
    whole = write(tmp_path / "mask.nii.gz", image()).read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(gzip.compress(gzip.decompress(whole)[:-30]))
    with pytest.raises(OSError, match="cut short"):
        read_mask(tmp_path / "cut.nii.gz", image(), 1)


def test_a_flat_image_is_refused(tmp_path):
    with pytest.raises(ValueError, match="2 dimensions"):
        read_mask(write(tmp_path / "mask.nii.gz", image()), image()[:, :, 0])


@pytest.fixture
def tilted(tmp_path):
    write_series(tmp_path / "tilted", body_hu(), tilt_degrees=18)
    return read_image(tmp_path / "tilted")


def test_a_label_map_binds_to_tilted_slices_by_index(tmp_path, tilted):
    expected = (body_hu() > 50).astype(np.uint8)
    upright = sitk.GetImageFromArray(expected)
    upright.CopyInformation(tilted)
    # ITK's own reader of a tilted series takes the distance of the origins for the slice spacing.
    upright.SetSpacing((*tilted.GetSpacing()[:2], 5.0 / np.cos(np.radians(18))))
    mask = read_mask(write(tmp_path / "mask.nii.gz", upright), tilted)
    np.testing.assert_array_equal(values(mask), expected)
    np.testing.assert_array_equal(slice_positions_mm(mask), slice_positions_mm(tilted))
    # Written from the head down, it starts at the true position of the last slice.
    downward = sitk.GetImageFromArray(expected[::-1])
    downward.CopyInformation(upright)
    downward.SetOrigin(slice_positions_mm(tilted)[-1].tolist())
    downward.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, -1))
    np.testing.assert_array_equal(values(read_mask(write(tmp_path / "down.nrrd", downward), tilted)), expected)


def test_a_label_map_of_other_planes_is_refused_for_tilted_slices(tmp_path, tilted):
    moved = sitk.Image(tilted.GetSize(), sitk.sitkUInt8)
    moved.CopyInformation(tilted)
    moved.SetOrigin(np.add(tilted.GetOrigin(), (0, 2, 0)).tolist())
    with pytest.raises(ValueError, match="is not the image's"):
        read_mask(write(tmp_path / "mask.nii.gz", moved), tilted)


def test_our_own_mask_of_tilted_slices_reads_back(tmp_path, tilted):
    mask = sitk.Cast(tilted > 50, sitk.sitkUInt8)
    write_mask(tmp_path / "mask.nii.gz", mask)
    np.testing.assert_array_equal(values(read_mask(tmp_path / "mask.nii.gz", tilted)), values(mask))


@pytest.fixture
def pair(tmp_path):
    plain = np.full((12, 10), 90, np.uint8)
    outlined = np.stack([plain] * 3, axis=-1)
    outlined[2:9, 3:8] = (255, 0, 0)
    outlined[3:8, 4:7] = 90
    Image.fromarray(plain).save(tmp_path / "plain.png")
    Image.fromarray(outlined).save(tmp_path / "outlined.png")
    return tmp_path / "plain.png", tmp_path / "outlined.png"


def test_a_pair_of_bitmaps_lands_as_a_radiologist_sees_the_slice(tmp_path, pair):
    expected = np.zeros((1, 12, 10), np.uint8)
    expected[0, 2:9, 3:8] = 1
    write_series(tmp_path / "upright", body_hu(1))
    write_series(tmp_path / "turned", body_hu(1), orientation=(-1, 0, 0, 0, -1, 0))
    np.testing.assert_array_equal(values(read_mask(pair, read_image(tmp_path / "upright"))), expected)
    turned = read_mask(list(pair), read_image(tmp_path / "turned"), 1)
    np.testing.assert_array_equal(values(turned), expected[:, ::-1, ::-1])


def test_a_pair_of_bitmaps_that_does_not_fit_is_refused(tmp_path, pair):
    write_series(tmp_path / "one", body_hu(1))
    write_series(tmp_path / "four", body_hu(4))
    one, four = read_image(tmp_path / "one"), read_image(tmp_path / "four")
    for files, like, label, message in [
        (pair, four, None, "has 12 x 10 pixels, the image 4 slices of 12 x 10"),
        (pair, one[:, :9, :], None, "the image 1 slices of 9 x 10"),
        (pair, one, 2, "no label 2"),
        ((*pair, pair[0]), one, None, "3 files were given"),
        ((pair[0], pair[0]), one, None, r"plain\.png: the two bitmaps do not differ"),
    ]:
        with pytest.raises(ValueError, match=message):
            read_mask(files, like, label)


def test_a_real_label_map_with_flipped_rows_fits_its_dicom_series(real_ct):
    like = read_image(real_ct / "dicom_j2k" / "series")
    path = real_ct / "dicom_j2k" / "labels.nii.gz"
    stored = sitk.ReadImage(str(path))
    assert stored.GetDirection() != like.GetDirection()
    onto = sitk.Resample(stored, like, sitk.Transform(), sitk.sitkNearestNeighbor)
    mask = read_mask(path, like, [86, 87])
    np.testing.assert_array_equal(values(mask), np.isin(sitk.GetArrayFromImage(onto), (86, 87)))
    assert 0 < np.median(sitk.GetArrayFromImage(like)[values(mask) > 0]) < 80  # muscle, not what lies opposite


def test_the_real_whole_muscle_mask_has_its_known_area(real_ct):
    like = read_image(real_ct / "abdomen_3mm" / "ct_t12_l2.nii.gz")
    mask = read_mask(real_ct / "abdomen_3mm" / "skeletal_muscle_t12_l2.nii.gz", like)
    area_cm2 = values(mask).sum(axis=(1, 2)) * 0.09
    assert area_cm2[[0, -1]] == pytest.approx([120, 74], abs=0.5)
