"""Readers' masks of any format come out on the dataset's own slices, or with the line of the table to mend."""

import numpy as np
import pytest
import SimpleITK as sitk
from dicom_files import body_hu, write_series
from pair_files import ALL_TRAIN, mask_on
from PIL import Image
from reader_files import patient_hu, prepared, stored, write, write_table

from mskjax.data import prepare, reader_masks
from mskjax.data.dataset import read_dataset
from mskjax.data.dicom import read_series
from mskjax.data.orientation import from_axial, slice_positions_mm
from mskjax.data.pairs import Pair
from mskjax.data.reader_masks import read_masks
from mskjax.data.reader_table import read_readings
from mskjax.data.reading import read_image
from mskjax.data.writing import write_mask, write_seg


def masks_of(table, dataset):
    return {(r.case_id, r.reader): mask for r, mask in read_masks(read_readings(table, dataset), dataset, table)}


def drawn_by(seed: int, height: int = 12) -> np.ndarray:
    """Labels 0, 1 and 2 [4, h, 10] without any symmetry."""
    return np.random.default_rng(seed).integers(0, 3, (4, height, 10)).astype(np.uint8)


@pytest.mark.parametrize(("image_as", "mask_as"), [("LPS", "LPS"), ("RAS", "LPS"), ("SLA", "PIR"), ("ARI", "LPS")])
def test_masks_lie_on_the_slices_of_the_dataset_however_files_are_stored(tmp_path, image_as, mask_as):
    dataset = prepared(tmp_path, image_as)
    anna, berta = drawn_by(1), drawn_by(2, height=15)
    write(tmp_path / "anna.nrrd", anna, mask_as)
    write(tmp_path / "berta.nii.gz", berta, mask_as)
    lines = [f"{name},A,{file},2" for name, file in (("anna", "anna.nrrd"), ("berta", "berta.nii.gz"))]
    lines = [line.replace(",", f"_s00{k},", 1) for line in lines for k in (1, 2)]
    table = write_table(tmp_path, *lines, "anna_s002,B,anna.nrrd,1|2", header="case,reader,file,label")
    masks = masks_of(table, dataset)
    expected = {
        **{(f"anna_s00{k}", "A"): anna[k] == 2 for k in (1, 2)},
        **{(f"berta_s00{k}", "A"): berta[k] == 2 for k in (1, 2)},
        ("anna_s002", "B"): anna[2] > 0,
    }
    assert masks.keys() == expected.keys()
    for key, mask in masks.items():
        np.testing.assert_array_equal(mask, expected[key], err_msg=str(key))
        assert mask.dtype == bool


def test_images_and_files_are_read_once_and_when_asked_for(tmp_path, monkeypatch):
    dataset = prepared(tmp_path)
    for name in ("a.nii", "b.nii"):
        write(tmp_path / name, mask_on(1, 2))
    read, real_image, real_mask = [], reader_masks.read_image, reader_masks.read_mask
    monkeypatch.setattr(reader_masks, "read_image", lambda path, series: read.append(path.name) or real_image(path))
    monkeypatch.setattr(reader_masks, "read_mask", lambda path, *rest: read.append(path.name) or real_mask(path, *rest))
    table = write_table(tmp_path, *(f"anna_s00{k},{who},{who}.nii" for k in (1, 2) for who in "ab"))
    masks = read_masks(read_readings(table, dataset), dataset, table)
    assert read == []
    next(masks)
    assert read == ["anna.nii.gz", "a.nii"]
    assert len(list(masks)) == 3
    assert read == ["anna.nii.gz", "a.nii", "b.nii"]


@pytest.mark.parametrize("orientation", ["LPS", "LSA", "SPL"])
def test_a_file_of_one_slice_must_lie_on_the_slice_of_its_case(tmp_path, orientation):
    dataset, mask = prepared(tmp_path, orientation), drawn_by(1) == 1
    on_slice_2 = sitk.RegionOfInterest(stored(mask.astype(np.uint8)), [10, 12, 1], [0, 0, 2])
    sitk.WriteImage(on_slice_2, str(tmp_path / "two.nii.gz"))
    table = write_table(tmp_path, "anna_s002,A,two.nii.gz")
    np.testing.assert_array_equal(masks_of(table, dataset)["anna_s002", "A"], mask[2])
    with pytest.raises(ValueError, match=r"readers\.csv, line 2: the grid of \S+two\.nii\.gz .* is not the image's"):
        masks_of(write_table(tmp_path, "anna_s001,A,two.nii.gz"), dataset)


def test_one_slice_of_a_tilted_series_lies_where_its_header_says(tmp_path):
    write_series(tmp_path / "ct", body_hu(), tilt_degrees=15.0)
    image, mask = read_image(tmp_path / "ct"), drawn_by(1) == 1
    write_mask(tmp_path / "expert.nrrd", from_axial(mask, image))
    pair = Pair(tmp_path / "ct", tmp_path / "expert.nrrd", slices="2", case_id="x", about={"split": "test"})
    prepare.prepare([pair], tmp_path / "dataset", ALL_TRAIN)
    one = sitk.GetImageFromArray(mask[2:3].astype(np.uint8))
    one.SetSpacing(image.GetSpacing())
    one.SetDirection(image.GetDirection())
    one.SetOrigin(slice_positions_mm(image)[2].tolist())
    sitk.WriteImage(one, str(tmp_path / "one.nrrd"))
    found = masks_of(write_table(tmp_path, "x,A,one.nrrd"), read_dataset(tmp_path / "dataset"))
    np.testing.assert_array_equal(found["x", "A"], mask[2])


def test_dicom_seg_and_bitmaps_are_masks_too(tmp_path):
    write_series(tmp_path / "ct", body_hu())
    write(tmp_path / "expert.nii", mask_on(1, 2))
    image, seen = read_image(tmp_path / "ct"), drawn_by(3) == 1
    write_mask(tmp_path / "expert.nrrd", from_axial(mask_on(2), image))
    pair = Pair(tmp_path / "ct", tmp_path / "expert.nrrd", case_id="x", about={"split": "test"})
    prepare.prepare([pair], tmp_path / "dataset", ALL_TRAIN)
    write_seg(tmp_path / "seg.dcm", seen, read_series(tmp_path / "ct"))
    plain = np.clip(body_hu()[2] // 4 + 100, 0, 200).astype(np.uint8)
    outlined = plain.copy()
    outlined[3:9, [2, 7]] = outlined[[3, 8], 2:8] = 255
    for name, pixels in (("plain.png", plain), ("outlined.png", outlined)):
        Image.fromarray(pixels).save(tmp_path / name)
    lines = "x,A,seg.dcm,", "x,B,outlined.png,plain.png"
    table = write_table(tmp_path, *lines, header="case,reader,file,mask_plain")
    found = masks_of(table, read_dataset(tmp_path / "dataset"))
    np.testing.assert_array_equal(found["x", "A"], seen[2])
    box = np.zeros((12, 10), bool)
    box[3:9, 2:8] = True
    np.testing.assert_array_equal(found["x", "B"], box)


def test_a_mask_on_another_grid_is_refused_with_its_line(tmp_path):
    dataset = prepared(tmp_path)
    write(tmp_path / "a.nii", mask_on(1, 2))
    write(tmp_path / "b.nii", mask_on(1, 2, height=13))
    (tmp_path / "c.nii").write_bytes(b"no mask")
    table = write_table(tmp_path, "anna_s001,A,a.nii", "anna_s001,B,b.nii")
    with pytest.raises(ValueError, match=r"readers\.csv, line 3: the grid of \S+b\.nii \(size 10 13 4.*draw or export"):
        masks_of(table, dataset)
    with pytest.raises(OSError, match=r"readers\.csv, line 2: \S+c\.nii is damaged or cut short"):
        masks_of(write_table(tmp_path, "anna_s001,A,c.nii"), dataset)


def test_an_image_that_moved_is_asked_for_and_found(tmp_path):
    dataset = prepared(tmp_path)
    write(tmp_path / "a.nii", mask_on(1, 2))
    (tmp_path / "ct/anna.nii.gz").rename(tmp_path / "moved.nii.gz")
    sentence = r"line 2: \S+anna\.nii\.gz, the image of case anna_s001, is not there; .* column image where"
    with pytest.raises(OSError, match=sentence):
        masks_of(write_table(tmp_path, "anna_s001,A,a.nii"), dataset)
    table = write_table(tmp_path, "anna_s001,A,a.nii,moved.nii.gz", header="case,reader,file,image")
    np.testing.assert_array_equal(masks_of(table, dataset)["anna_s001", "A"], mask_on(1)[1] == 1)


CHANGES = {
    "HU": lambda hu: hu + (np.arange(4) == 1).astype(np.int16)[:, None, None],
    "flip": lambda hu: hu[:, :, ::-1],
    "short": lambda hu: hu[:1],
    "size": lambda hu: np.pad(hu, ((0, 0), (0, 1), (0, 0))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_image_that_changed_is_refused(tmp_path, change):
    dataset = prepared(tmp_path)
    write(tmp_path / "ct/anna.nii.gz", CHANGES[change](patient_hu("anna")))
    write(tmp_path / "a.nii", mask_on(1, 2))
    sentence = r"line 2: \S+anna\.nii\.gz no longer shows, on slice 1, what case anna_s001 of the dataset was prepared"
    with pytest.raises(ValueError, match=sentence):
        masks_of(write_table(tmp_path, "anna_s001,A,a.nii"), dataset)


def test_an_image_of_another_pixel_spacing_is_refused(tmp_path):
    dataset = prepared(tmp_path)
    write(tmp_path / "a.nii", mask_on(1, 2))
    image = sitk.ReadImage(str(tmp_path / "ct/anna.nii.gz"))
    image.SetSpacing((1.01, 1.5, 5.0))
    sitk.WriteImage(image, str(tmp_path / "ct/anna.nii.gz"))
    with pytest.raises(ValueError, match="no longer shows, on slice 1"):
        masks_of(write_table(tmp_path, "anna_s001,A,a.nii"), dataset)


def test_a_reader_on_the_wrong_slice_is_told(tmp_path, caplog):
    dataset = prepared(tmp_path)
    write(tmp_path / "a.nii", mask_on(2, 3))
    write(tmp_path / "b.nii", mask_on())
    masks = masks_of(write_table(tmp_path, "anna_s001,A,a.nii", "anna_s001,B,b.nii"), dataset)
    assert not masks["anna_s001", "A"].any() and not masks["anna_s001", "B"].any()
    told = (
        "line 2: reader A drew nothing on slice 1, where case anna_s001 is, but on slices 2, 3 (0-based from the feet)"
    )
    assert told in caplog.text
    assert "b.nii is empty" in caplog.text and "reader B drew nothing" not in caplog.text
