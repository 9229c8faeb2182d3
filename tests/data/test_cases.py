"""One case is read: the right slices, and nothing of a file that has changed."""

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import body_hu
from pair_files import ALL_TRAIN, mask_on, pair, write_image

from mskjax.data import cases, prepare
from mskjax.data.dataset import read_dataset
from mskjax.data.pairs import Pair


def test_slices_are_counted_from_the_feet(tmp_path):
    image = sitk.GetImageFromArray(body_hu())
    image.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, -1))
    mask = sitk.GetImageFromArray(mask_on(0, 3))
    mask.CopyInformation(image)
    sitk.WriteImage(image, str(tmp_path / "ct.nii.gz"))
    sitk.WriteImage(mask, str(tmp_path / "mask.nii.gz"))
    prepare.prepare([Pair(tmp_path / "ct.nii.gz", tmp_path / "mask.nii.gz", "3")], tmp_path / "out", ALL_TRAIN)
    dataset = read_dataset(tmp_path / "out")
    assert dataset.cases.loc[0, ["slice_index", "source_index"]].tolist() == [3, 0]
    np.testing.assert_array_equal(dataset.slices.image_hu[0], body_hu()[0])


def test_which_slices_are_taken(cohort):
    spine = np.zeros((4, 12, 10), np.uint8)
    spine[1:3, 8, 5], spine[3, 8, 5] = 29, 28
    levels = write_image(cohort / "spine.nii.gz", spine)
    chosen = {"all": [1, 2], "largest": [2], "1": [1]}
    for slices, expected in chosen.items():
        assert cases.read(pair(cohort, slices=slices), b"key").slice_index == expected
    by_level = pair(cohort, slices="level", level_mask=levels, level_label="29")
    assert cases.read(by_level, b"key").slice_index == [1]


def test_slices_without_mask_or_level_are_refused(cohort):
    with pytest.raises(
        ValueError, match=r"empty on slice 3; of 4 .* it marks 2 slices from 1 to 2; choose a slice that"
    ):
        cases.read(pair(cohort, slices="3"), b"key")
    write_image(cohort / "muscle/case0.nii.gz", mask_on(2))
    with pytest.raises(
        ValueError, match=r"it marks slice 2 alone; choose a slice that it marks, or outline the muscle"
    ):
        cases.read(pair(cohort, slices="3"), b"key")
    with pytest.raises(ValueError, match=r"slice 4 is out of range: .*case0\.nii\.gz has 4, .* to 3; correct"):
        cases.read(pair(cohort, slices="4"), b"key")
    with pytest.raises(ValueError, match="neither a number"):
        pair(cohort, slices="-1")
    with pytest.raises(ValueError, match="level mask and a level label"):
        pair(cohort, slices="level", level_label="29")
    write_image(cohort / "muscle/case0.nii.gz", mask_on())
    with pytest.raises(ValueError, match="is empty"):
        cases.read(pair(cohort), b"key")


def test_an_image_without_a_mask_needs_a_slice_and_a_label(cohort):
    bare = Pair(cohort / "ct/case0.nii.gz", about={"sarcopenia": "1"})
    with pytest.raises(ValueError, match=r"case0\.nii\.gz has 4 slices and no mask to choose one by; give the number"):
        cases.read(bare, b"key")
    with pytest.raises(ValueError, match=r"slice 4 is out of range: \S+case0\.nii\.gz has 4"):
        cases.read(replace(bare, slices="4"), b"key")
    read = cases.read(replace(bare, slices="3"), b"key")
    assert read.slice_index == [3] and not read.mask.any()
    np.testing.assert_array_equal(read.image_hu, body_hu()[3:])
    spine = np.zeros((4, 12, 10), np.uint8)
    spine[:3, 8, 5] = 29
    levels = write_image(cohort / "spine.nii.gz", spine)
    by_level = replace(bare, slices="level", level_mask=levels, level_label="29")
    assert cases.read(by_level, b"key").slice_index == [1]
    write_image(cohort / "ct/case0.nii.gz", body_hu(1))
    assert cases.read(bare, b"key").slice_index == [0]
    cases.check(bare)
    with pytest.raises(ValueError, match=r"case0\.nii\.gz has neither a mask nor a label; name its mask, or give it 0"):
        cases.check(replace(bare, about={"sex": "F"}))


def test_an_image_that_changed_is_not_remembered(cohort):
    first = cases.read(pair(cohort), b"key").image_hu
    write_image(cohort / "ct/case0.nii.gz", body_hu(seed=9))
    np.testing.assert_array_equal(first, body_hu(seed=0)[1:3])
    np.testing.assert_array_equal(cases.read(pair(cohort), b"key").image_hu, body_hu(seed=9)[1:3])


def test_several_labels_are_joined(cohort):
    labelled = mask_on(1, 2)
    labelled[2], labelled[3, 0, 0] = 2 * labelled[2], 3
    write_image(cohort / "muscle/case0.nii.gz", labelled)
    found = cases.read(pair(cohort, label=("1", "2")), b"key")
    assert found.slice_index == [1, 2]
    np.testing.assert_array_equal(found.mask, mask_on(1, 2)[1:3])
    prints = [cases.fingerprint(pair(cohort, label=label), b"key") for label in (None, ("1",), ("2",), ("1", "2"))]
    assert len(set(prints)) == 4
    with pytest.raises(ValueError, match=r"3 labels: 1, 2, 3; name the muscle's with --label, several as --label=1,2"):
        cases.read(pair(cohort), b"key")


@pytest.mark.parametrize("name", ["ct.nii.gz", "nowhere/ct.hdr"])
def test_a_missing_file_is_named(cohort, name):
    with pytest.raises(FileNotFoundError, match=rf"{name} does not exist; correct its path") as error:
        cases.fingerprint(Pair(cohort / name, cohort / "muscle/case0.nii.gz"), b"key")
    assert "Errno" not in str(error.value)
