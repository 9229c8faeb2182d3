"""Scans become a dataset of volumes: with masks, without any, or phantoms; no work is done twice, nothing half."""

import errno
import json
import pickle
import resource

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import body_hu, write_series
from pair_files import ALL_TRAIN, mask_on, pair, write_image
from PIL import Image

from mskjax.data import npy_files, phantom_volumes, prepare, volume_cases
from mskjax.data.anatomy.patient import draw
from mskjax.data.dataset import read_dataset
from mskjax.data.pairs import Pair
from mskjax.data.request import Request, fulfil
from mskjax.data.volume_cases import VolumeOptions
from mskjax.data.volume_folder import check_digests, read_volumes

# Of slices 5 mm apart with pixels of 1.5 x 1.0 mm: as they are within a slice, and a plane between two slices.
HALVED = VolumeOptions((1.0, 1.5, 2.5))


@pytest.fixture
def made(cohort):
    """The dataset of three scans whose masks lie on slices 1 and 2."""
    assert make(cohort) == {}
    return cohort / "out"


def make(cohort, options=HALVED, **choice):
    return prepare.prepare([pair(cohort, i, **choice) for i in range(3)], cohort / "out", ALL_TRAIN, None, options)


def seen_from_ras(image: np.ndarray) -> np.ndarray:
    """An axial slice [h, w] along i (to the right) and j (to the front)."""
    return image[::-1, ::-1].T


def state(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_scans_with_masks_become_volumes(made):
    volumes = read_volumes(made)
    check_digests(volumes)
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


def test_what_is_scored_is_the_slice_at_its_own_grid(made):
    dataset = read_dataset(made)
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
    write_image(tmp_path / "ct/case0.nii.gz", body_hu(9), (thickness_mm, 1.0, 1.0))
    write_image(tmp_path / "muscle/case0.nii.gz", mask_on(3, depth=9), (thickness_mm, 1.0, 1.0))
    options = VolumeOptions((1.5, 1.5, 2.0))
    assert prepare.prepare([pair(tmp_path)], tmp_path / "out", ALL_TRAIN, None, options) == {}
    volumes = read_volumes(tmp_path / "out")
    planes, label = volumes.label(0)
    assert len(planes) == len(label) == 1
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
    assert flat == "is one slice, and no volume; leave --spacing_mm out to prepare slices"
    assert "lies in air or is finer than the spacing" in unmasked
    for folder in ("volumes", "labels"):
        assert len(list((cohort / "out" / folder).iterdir())) == 1, "of what failed nothing is left"


def test_bitmaps_are_refused(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"volumes are made of CT, and \S+a\.png is a bitmap; leave --spacing_mm out"):
        prepare.prepare([Pair(tmp_path / "a.png")], tmp_path / "out", ALL_TRAIN, None, HALVED)
    assert not (tmp_path / "out").exists()


def test_what_is_done_is_skipped_and_what_was_harmed_is_made_again(cohort, made, monkeypatch):
    before = state(made)
    with monkeypatch.context() as patched:
        patched.setattr(volume_cases, "_make", lambda *_: pytest.fail("made again"))
        make(cohort)
    assert state(made) == before
    for name in ("volumes", "labels", "prepared"):
        for path in (made / name).iterdir():
            path.write_bytes(path.read_bytes()[:-1])
    (made / "volumes.csv").unlink()
    assert make(cohort) == {}
    check_digests(read_volumes(made))
    for name, (_, content) in before.items():
        assert name.suffix == ".npz" or (made / name).read_bytes() == content, name


def test_a_killed_command_goes_on_where_it_was(cohort, monkeypatch):
    seen, original = [], npy_files.save

    def stop_at_the_third_volume(path, array):
        seen.append(path.parent.name)
        if len(seen) == 6:
            left = path.parent / f".{path.name}.abcdefgh"  # as a killed process leaves it
            left.mkdir()
            (left / path.name).write_bytes(b"half")
            raise KeyboardInterrupt
        return original(path, array)

    monkeypatch.setattr(npy_files, "save", stop_at_the_third_volume)
    with pytest.raises(KeyboardInterrupt):
        make(cohort)
    assert not (cohort / "out/dataset.json").exists()
    assert len(list((cohort / "out/prepared").glob("*.json"))) == 2
    assert make(cohort) == {}
    assert seen == ["labels", "volumes"] * 4, "the third alone was made again"
    assert sorted(len(list((cohort / "out" / name).iterdir())) for name in ("volumes", "labels", "prepared")) == [
        3,
        3,
        6,
    ]
    check_digests(read_volumes(cohort / "out"))


def test_a_full_disk_ends_the_command_and_leaves_nothing_half_written(cohort, monkeypatch):
    original, written = npy_files.save, []

    def full(path, array):
        written.append(path)
        if len(written) > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(path, array)

    monkeypatch.setattr(npy_files, "save", full)
    with pytest.raises(OSError, match="no space is left on the disk; make room and run the same command again"):
        make(cohort)
    assert not (cohort / "out/dataset.json").exists() and len(written) == 3
    monkeypatch.setattr(npy_files, "save", original)
    assert make(cohort) == {} and len(read_volumes(cohort / "out")) == 3


def test_a_file_that_cannot_be_written_whole_is_not_there(tmp_path):
    """A limit to the size of files stands for the full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError) as caught:
            npy_files.save(tmp_path / "a.npy", np.zeros(10_000, np.int16))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("options", [VolumeOptions((1.0, 1.5, 5.0)), VolumeOptions((1.0, 1.5, 2.5), False)])
def test_another_spacing_or_box_makes_all_anew(cohort, made, options):
    former = {path.name for path in (made / "volumes").iterdir()}
    assert make(cohort, options) == {}
    volumes = read_volumes(made)
    assert volumes.spacing_mm == options.spacing_mm
    assert volumes.manifest["made_by"]["options"]["foreground"] == options.foreground
    present = {path.name for path in (made / "volumes").iterdir()}
    assert len(present) == 3 and not present & former, "the former ones are forgotten"


def test_slices_in_the_place_of_volumes_leave_none_and_touch_no_files_of_the_users(cohort, made):
    (made / "labels/mine.nii.gz").write_bytes(b"mine")
    (made / "volumes/case0.npy").write_bytes(b"mine")
    assert prepare.prepare([pair(cohort)], made, ALL_TRAIN) == {}
    assert [path.name for name in ("volumes", "labels") for path in (made / name).iterdir()] == [
        "case0.npy",
        "mine.nii.gz",
    ]
    assert not (made / "volumes.csv").exists()
    with pytest.raises(ValueError, match="holds slices, not volumes"):
        read_volumes(made)


def test_a_dataset_from_other_images_is_not_replaced(cohort):
    pairs, source = [pair(cohort)], {"images": str(cohort / "ct"), "masks": str(cohort / "muscle")}
    prepare.prepare(pairs, cohort / "out", ALL_TRAIN, source, HALVED)
    with pytest.raises(ValueError, match="would replace it; name another --output"):
        prepare.prepare(pairs, cohort / "out", ALL_TRAIN, {"images": str(cohort / "muscle")}, HALVED)


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
        ({"spacing_mm": ["1.5", "1.5", "0"]}, r"spacing \(1.5, 1.5, 0.0\) mm is not three numbers from 0.1 to 50"),
        ({"spacing_mm": ["nan", "1", "1"]}, "is not three numbers from 0.1 to 50"),
        ({"foreground": False}, "--foreground is for volumes; give their --spacing_mm"),
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
    restored = volumes.restore(0, drawn) >= 0.5
    scored = volumes.cases["slice_index"][0]
    np.testing.assert_array_equal(restored[scored], dataset.slices.mask[0])


def test_the_tables_are_told_in_the_manifest(made):
    manifest = json.loads((made / "dataset.json").read_text())
    assert sorted(manifest["sha256"]) == ["cases.csv", "slices.npz", "volumes.csv"]
    assert manifest["made_by"]["options"]["spacing_mm"] == [1.0, 1.5, 2.5]
