"""Scans become a dataset of volumes: with masks, without any, or phantoms."""

import json
import pickle

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import body_hu, write_series
from pair_files import ALL_TRAIN, mask_on, pair, write_image
from PIL import Image
from volume_files import HALVED, assert_as_written, make, state

from mskjax.data import phantom_volumes, prepare, volume_cases
from mskjax.data.anatomy.patient import draw
from mskjax.data.dataset import read_dataset
from mskjax.data.pairs import Pair
from mskjax.data.ras import ras_to_axial
from mskjax.data.request import Request, fulfil
from mskjax.data.volume_cases import VolumeOptions
from mskjax.data.volume_folder import read_volumes
from mskjax.data.volume_grid import restore


def seen_from_ras(image: np.ndarray) -> np.ndarray:
    """An axial slice [h, w] along i (to the right) and j (to the front)."""
    return image[::-1, ::-1].T


def test_scans_with_masks_become_volumes(volume_dataset):
    volumes = read_volumes(volume_dataset)
    assert_as_written(volume_dataset)
    assert len(volumes) == 3 and volumes.spacing_mm == (1.0, 1.5, 2.5)
    assert volumes.cases["slice_index"].tolist() == [1] * 3, "the middle of slices 1 and 2, the lower of two"
    for row, height in enumerate((12, 15, 12)):
        image_hu = body_hu(4, height, 10, seed=row)
        body = (slice(2, height - 1), slice(1, 8))  # all else is air
        assert volumes.box(row) == (slice(0, 7), *body) and volumes.shape(row) == (7, height - 3, 7)
        planes, label = volumes.label(row)
        assert planes.tolist() == [2, 3, 4], "on slice 1, between, on slice 2"
        for k, of in ((0, 0), (2, 1), (4, 2), (6, 3)):
            np.testing.assert_array_equal(volumes.image(row)[:, :, k], seen_from_ras(image_hu[of][body]))
        between = np.rint((image_hu[1].astype(float) + image_hu[2]) / 2)
        np.testing.assert_array_equal(volumes.image(row)[:, :, 3], seen_from_ras(between[body]))
        mask = mask_on(1, 2, height=height)
        for of, found in zip((1, 1, 2), label, strict=True):
            np.testing.assert_array_equal(found, seen_from_ras(mask[of][body]))


def test_what_is_scored_is_the_slice_at_its_own_grid(volume_dataset):
    dataset = read_dataset(volume_dataset)
    for row, height in enumerate((12, 15, 12)):
        image_hu, mask, spacing_mm = dataset.slices.case(row)
        np.testing.assert_array_equal(image_hu, body_hu(4, height, 10, seed=row)[1])
        np.testing.assert_array_equal(mask, mask_on(1, height=height)[1])
        assert spacing_mm.tolist() == [1.5, 1.0]
    assert dataset.manifest["spacing_mm"] == [1.0, 1.5, 2.5]
    assert dataset.manifest["counts"] == {"slices": 3, "patients": 3, "train": 3, "validation": 0, "test": 0}


@pytest.mark.parametrize(("choice", "scored"), [("largest", 2), ("2", 2), ("1", 1), ("all", 1)])
def test_the_scored_slice_is_chosen_and_the_grid_laid_through_it(cohort, choice, scored):
    assert make(cohort, VolumeOptions((1.0, 1.5, 3.0)), slices=choice) == {}
    volumes = read_volumes(cohort / "out")
    assert volumes.cases["slice_index"].tolist() == [scored] * 3
    grid = volumes.grid(0)
    assert grid.drawn is not None and grid.positions[0][grid.drawn] == scored


@pytest.mark.parametrize("thickness_mm", [1.0, 5.0])
def test_a_mask_on_one_slice_labels_one_plane(tmp_path, thickness_mm):
    image_hu = body_hu(9)
    image_hu[:2] = -1000  # so that the box begins above the first plane
    write_image(tmp_path / "ct/case0.nii.gz", image_hu, (thickness_mm, 1.0, 1.0))
    write_image(tmp_path / "muscle/case0.nii.gz", mask_on(3, depth=9), (thickness_mm, 1.0, 1.0))
    options = VolumeOptions((1.5, 1.5, 2.0))
    assert prepare.prepare([pair(tmp_path)], tmp_path / "out", ALL_TRAIN, None, options) == {}
    volumes = read_volumes(tmp_path / "out")
    planes, label = volumes.label(0)
    assert len(planes) == len(label) == 1 and volumes.box(0)[0].start > 0
    assert volumes.grid(0).positions[0][planes[0] + volumes.box(0)[0].start] == 3


def test_scans_without_masks_are_for_pretraining(cohort):
    pairs, _ = prepare.collect(str(cohort / "ct"), None, None, unmasked=True)
    assert prepare.prepare(pairs, cohort / "out", ALL_TRAIN, None, HALVED) == {}
    volumes = read_volumes(cohort / "out")
    assert not volumes.labelled.any() and volumes.cases["slice_index"].tolist() == [1] * 3
    assert volumes.manifest["counts"]["volumes"] == 3
    np.testing.assert_array_equal(volumes.image(0)[:, :, 2], seen_from_ras(body_hu()[1][2:-1, 1:-2]))
    assert not (cohort / "out/slices.npz").exists() and not (cohort / "out/labels").exists()
    with pytest.raises(ValueError, match="holds volumes without masks, for pretraining"):
        read_dataset(cohort / "out")
    with pytest.raises(ValueError, match="give --images and --masks"):
        prepare.collect(str(cohort / "ct"), None, None)


def test_some_may_lack_a_mask(cohort):
    pairs = [pair(cohort), Pair(cohort / "ct/case1.nii.gz")]
    assert prepare.prepare(pairs, cohort / "out", ALL_TRAIN, None, HALVED) == {}
    assert read_volumes(cohort / "out").labelled.tolist() == [True, False]
    assert read_dataset(cohort / "out").slices.mask.any(axis=(1, 2)).tolist() == [True, False]


def test_a_scan_keeps_its_air_where_that_is_asked_for(cohort):
    assert make(cohort, VolumeOptions((1.0, 1.5, 2.5), foreground=False)) == {}
    volumes = read_volumes(cohort / "out")
    assert [volumes.shape(row) for row in range(3)] == [(10, 12, 7), (10, 15, 7), (10, 12, 7)]
    np.testing.assert_array_equal(volumes.image(0)[:, :, 0], seen_from_ras(body_hu()[0]))


def test_axes_run_as_itk_says_they_do_in_ras(tmp_path):
    """Whatever the file's own axes are; names say where an axis runs to."""
    image = sitk.GetImageFromArray(body_hu(6, 8, 7))
    image.SetSpacing((1.0, 1.5, 5.0))
    turned = sitk.DICOMOrient(image, "PIR")
    sitk.WriteImage(turned, str(tmp_path / "ct.nii.gz"))
    options = VolumeOptions((1.0, 1.5, 5.0), foreground=False)
    assert prepare.prepare([Pair(tmp_path / "ct.nii.gz")], tmp_path / "out", ALL_TRAIN, None, options) == {}
    expected = sitk.GetArrayFromImage(sitk.DICOMOrient(turned, "RAS")).transpose()
    np.testing.assert_array_equal(read_volumes(tmp_path / "out").image(0), expected)


def test_what_makes_no_volume_is_listed_and_the_rest_is_written(cohort):
    write_series(cohort / "tilted", body_hu(), tilt_degrees=20.0)
    write_image(cohort / "flat.nii.gz", body_hu(1))
    outside = np.zeros((4, 12, 10), np.uint8)
    outside[1, 0, 0] = 1
    write_image(cohort / "outside.nii.gz", outside)
    images = [cohort / name for name in ("tilted", "flat.nii.gz")]
    pairs = [pair(cohort), *map(Pair, images), Pair(cohort / "ct/case2.nii.gz", cohort / "outside.nii.gz")]
    failed = prepare.prepare(pairs, cohort / "out", ALL_TRAIN, None, HALVED)
    assert len(read_volumes(cohort / "out")) == 1
    tilted, flat, unmasked = failed.values()
    assert "a volume needs a straight stack" in tilted and "tilted by 20.0 degrees" in tilted
    assert flat.startswith("is one slice, and no volume; of a DICOM series give the folder that holds its folder")
    assert "lies in air or is finer than the spacing" in unmasked
    for folder in ("volumes", "labels"):
        assert len(list((cohort / "out" / folder).iterdir())) == 1, "of what failed nothing is left"


def test_bitmaps_are_refused(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"volumes are made of CT, and \S+a\.png is a bitmap; leave --spacing_mm out"):
        prepare.prepare([Pair(tmp_path / "a.png")], tmp_path / "out", ALL_TRAIN, None, HALVED)
    assert not (tmp_path / "out").exists()


def test_a_copy_of_a_scan_under_another_patient_may_not_test(cohort):
    write_image(cohort / "ct/case2.nii.gz", body_hu(4, 12, 10, seed=0))
    images = ((0, "train"), (2, "test"))
    bare = [Pair(cohort / f"ct/case{i}.nii.gz", case_id=f"C{i}", about={"split": split}) for i, split in images]
    with pytest.raises(ValueError, match=r"cases C0 \(train\) and C2 \(test\) are one scan in two splits"):
        prepare.prepare(bare, cohort / "out", ALL_TRAIN, None, HALVED)
    write_image(cohort / "ct/case2.nii.gz", np.concatenate([body_hu(4)[:2], body_hu(4, seed=5)[:2]]))
    drawn = [pair(cohort, i, case_id=f"C{i}", about={"split": split}) for i, split in images]
    with pytest.raises(ValueError, match="are one slice in two splits"):
        prepare.prepare(drawn, cohort / "out", ALL_TRAIN, None, HALVED)


def test_of_a_finished_volume_no_voxels_stay_in_memory(cohort):
    write_image(cohort / "big.nii.gz", body_hu(20, 60, 60))
    finished = volume_cases.finish(Pair(cohort / "big.nii.gz"), b"key", cohort / "out", HALVED)
    assert len(pickle.dumps(finished)) < 2000


def whole_mask(folder, row):
    return sitk.GetArrayFromImage(sitk.ReadImage(str(folder / f"phantoms/whole_masks/phantom_{row:04d}.nii.gz")))


def nearest_l3() -> int:
    """The slice nearest the middle of L3 of the first patient, whose heights the patient itself knows."""
    patient = draw(np.random.default_rng([0, 0]))
    middle_mm = (patient.z_mm(-3.4) + patient.z_mm(4.4)) / 2
    return int(np.abs(middle_mm + (np.arange(31) - 15) * 10).argmin())


def test_phantoms_become_volumes_with_a_mask_at_l3_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(phantom_volumes, "_SLICES", 31)
    monkeypatch.setattr(phantom_volumes, "_SLICE_MM", 10.0)
    options = VolumeOptions((13.0, 13.0, 10.0))
    assert prepare.prepare_phantoms(3, tmp_path, 32, 0, prepare.Shares(0.34, 0.34), options) == {}
    volumes, dataset = read_volumes(tmp_path), read_dataset(tmp_path)
    assert sorted(volumes.cases["split"]) == ["test", "train", "validation"]
    assert [len(volumes.label(row)[0]) for row in range(3)] == [1, 1, 1]
    for row in range(3):
        level, sex = volumes.cases["slice_index"][row], volumes.cases["sex"][row]
        np.testing.assert_array_equal(dataset.slices.case(row)[1], whole_mask(tmp_path, row)[level])
        area_cm2 = dataset.slices.mask[row].sum() * 1.28**2
        assert volumes.cases["sarcopenia"][row] == (area_cm2 < {"M": 165, "F": 110}[sex])
    assert volumes.cases["slice_index"][0] == nearest_l3()
    written = state(tmp_path)
    prepare.prepare_phantoms(3, tmp_path, 32, 0, prepare.Shares(0.34, 0.34), options)
    assert state(tmp_path) == written


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"spacing_mm": ["1.5", "2"]}, "--spacing_mm=1.5,2 is not three numbers, as in --spacing_mm=1.5,1.5,2"),
        ({"spacing_mm": ["1.5", "x", "2"]}, "is not three numbers"),
        ({"spacing_mm": ["1.5", "1.5", "0"]}, "--spacing_mm=1.5,1.5,0 is not three numbers from 0.1 to 50"),
        ({"spacing_mm": ["nan", "1", "1"]}, "is not three numbers from 0.1 to 50"),
        ({"foreground": False}, r"--\[no\]foreground is for volumes; give their --spacing_mm"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(tmp_path, asked, sentence):
    with pytest.raises(ValueError, match=sentence):
        fulfil(Request(output=str(tmp_path / "out"), phantom=1, **asked))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("spacing_mm", [(3.0, 3.0, 3.0), (1.5, 1.5, 2.0)])
def test_real_ct(real_ct, tmp_path, spacing_mm):
    """A mask on all of 30 slices of 3 mm, from T12 to L2."""
    folder = real_ct / "abdomen_3mm"
    scan = Pair(folder / "ct_t12_l2.nii.gz", folder / "skeletal_muscle_t12_l2.nii.gz")
    assert prepare.prepare([scan], tmp_path, ALL_TRAIN, None, VolumeOptions(spacing_mm)) == {}
    volumes, dataset = read_volumes(tmp_path), read_dataset(tmp_path)
    # The file's rows run to the front and its columns to the right, or the other way round: areas do not care.
    own = sitk.GetArrayFromImage(sitk.ReadImage(str(scan.mask))) > 0
    own_cm2 = own.sum(axis=(1, 2)) * 0.09
    assert dataset.slices.mask.sum() * 0.09 == pytest.approx(own_cm2[volumes.cases["source_index"][0]])
    planes, label = volumes.label(0)
    places = volumes.grid(0).positions[0][planes + volumes.box(0)[0].start]
    np.testing.assert_allclose(places, np.arange(0, 29.01, spacing_mm[2] / 3), atol=1e-9)
    own_cm2 = own_cm2 if volumes.cases["source_index"][0] == volumes.cases["slice_index"][0] else own_cm2[::-1]
    found_cm2 = label.sum(axis=(1, 2)) * spacing_mm[0] * spacing_mm[1] / 100
    np.testing.assert_allclose(found_cm2, np.interp(places, np.arange(30), own_cm2), rtol=0.02)
    drawn = np.zeros(volumes.shape(0), np.float32)
    drawn[:, :, planes] = np.moveaxis(label, 0, 2)
    whole = np.zeros(volumes.grid(0).new_shape, np.float32)
    whole[volumes.box(0)] = ras_to_axial(drawn)
    restored = restore(whole, volumes.grid(0)) >= 0.5
    scored = volumes.cases["slice_index"][0]
    np.testing.assert_array_equal(restored[scored], dataset.slices.mask[0])


def test_the_tables_are_told_in_the_manifest(volume_dataset):
    manifest = json.loads((volume_dataset / "dataset.json").read_text())
    assert sorted(manifest["sha256"]) == ["cases.csv", "slices.npz", "volumes.csv"]
    assert manifest["made_by"]["options"]["spacing_mm"] == [1.0, 1.5, 2.5]
