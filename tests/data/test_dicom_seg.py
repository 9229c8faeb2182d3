"""Frames of DICOM SEG objects land on the voxels that their own geometry names."""

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import AXIAL, body_hu, edit, plane_positions, write_series
from highdicom.seg import Segmentation, SegmentDescription
from pydicom.sr.codedict import codes

from mskjax.data.dicom import read_series
from mskjax.data.masks import read_mask
from mskjax.data.reading import read_image

# 77 pixels a frame: packed to bits, frames do not begin at whole bytes.
SHAPE = (4, 11, 7)
SPACING_MM = (5.0, 0.9, 0.8)
MUSCLE = np.random.default_rng(1).random(SHAPE) < 0.4
MUSCLE[2] = False
BONE = np.random.default_rng(2).random(SHAPE) < 0.4


@pytest.fixture
def series(tmp_path):
    write_series(tmp_path / "series", body_hu(*SHAPE), SPACING_MM)
    return tmp_path / "series"


@pytest.fixture
def like(series):
    return read_image(series)


def write_seg(path, series, values, kind="BINARY", names=("Muscle",), **geometry):
    """A SEG object by highdicom alone; `values` [d, h, w] or with segments last, in the order of the sources."""
    sources = read_series(series)
    for header in sources:
        header.update({"PatientSex": "", "AccessionNumber": "", "StudyID": "", "StudyTime": ""})
    segmentation = Segmentation(
        source_images=sources,
        pixel_array=values,
        segmentation_type=kind,
        segment_descriptions=[
            SegmentDescription(n + 1, name, codes.SCT.Tissue, codes.SCT.SkeletalMuscle, "MANUAL")
            for n, name in enumerate(names)
        ],
        series_instance_uid=highdicom.UID(),
        series_number=7,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="test",
        manufacturer_model_name="test",
        software_versions="1",
        device_serial_number="1",
        **geometry,
    )
    segmentation.save_as(path)
    return path


def values(mask: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(mask)


def test_frames_go_to_their_slices_and_a_slice_without_frame_is_empty(tmp_path, series, like):
    path = write_seg(tmp_path / "seg.dcm", series, MUSCLE)
    assert pydicom.dcmread(path).NumberOfFrames == 3
    mask = read_mask(path, like)
    np.testing.assert_array_equal(values(mask), MUSCLE)
    assert (mask.GetSpacing(), mask.GetOrigin()) == (like.GetSpacing(), like.GetOrigin())


def test_overlapping_segments_are_told_apart_by_number_or_name(tmp_path, series, like):
    both = np.stack([MUSCLE, BONE], axis=-1)
    path = write_seg(tmp_path / "seg.dcm", series, both, names=("Muscle", "Bone"))
    for label, expected in {1: MUSCLE, "muscle": MUSCLE, "Bone": BONE, "2": BONE}.items():
        np.testing.assert_array_equal(values(read_mask(path, like, label)), expected)
    np.testing.assert_array_equal(values(read_mask(path, like, ["bone", 1])), MUSCLE | BONE)
    with pytest.raises(ValueError, match=r"holds 2 labels: 1 \(Muscle\), 2 \(Bone\)"):
        read_mask(path, like)
    with pytest.raises(ValueError, match=r"no label 'fat'; it holds 1 \(Muscle\), 2 \(Bone\)"):
        read_mask(path, like, "fat")


def test_a_segment_without_frames_is_an_empty_mask(tmp_path, series, like):
    both = np.stack([MUSCLE, np.zeros_like(BONE)], axis=-1)
    path = write_seg(tmp_path / "seg.dcm", series, both, names=("Muscle", "Bone"))
    assert not values(read_mask(path, like, "Bone")).any()


def test_a_label_map_segmentation_is_read(tmp_path, series, like):
    numbers = np.where(BONE, 2, MUSCLE).astype(np.uint8)
    path = write_seg(tmp_path / "seg.dcm", series, numbers, "LABELMAP", ("Muscle", "Bone"))
    np.testing.assert_array_equal(values(read_mask(path, like, "Bone")), BONE)
    np.testing.assert_array_equal(values(read_mask(path, like, "Muscle")), MUSCLE & ~BONE)


def test_fractions_are_read_only_where_they_are_all_or_nothing(tmp_path, series, like):
    hard = write_seg(tmp_path / "hard.dcm", series, MUSCLE.astype(np.float32), "FRACTIONAL")
    np.testing.assert_array_equal(values(read_mask(hard, like)), MUSCLE)
    soft = write_seg(tmp_path / "soft.dcm", series, MUSCLE * np.float32(0.6), "FRACTIONAL")
    with pytest.raises(ValueError, match=r"FRACTIONAL segmentation with values between 0 and 255; threshold it"):
        read_mask(soft, like)


def placed(positions_mm, orientation, spacing_mm=SPACING_MM):
    return {
        "plane_positions": [
            highdicom.PlanePositionSequence("PATIENT", position, frame_index)
            for frame_index, position in enumerate(positions_mm.tolist(), 1)
        ],
        "plane_orientation": highdicom.PlaneOrientationSequence("PATIENT", orientation),
        "pixel_measures": highdicom.PixelMeasuresSequence(spacing_mm[1:], spacing_mm[0]),
    }


@pytest.mark.parametrize("rows", ["stored", "flipped"])
@pytest.mark.parametrize("columns", ["stored", "flipped"])
def test_frames_stored_mirrored_are_not_mirrored_in_the_mask(tmp_path, series, like, rows, columns):
    orientation, values_seg, positions_mm = list(AXIAL), MUSCLE, plane_positions(4, SPACING_MM)
    if columns == "flipped":
        orientation[0], values_seg = -1.0, values_seg[:, :, ::-1]
        positions_mm[:, 0] += SPACING_MM[2] * (SHAPE[2] - 1)
    if rows == "flipped":
        orientation[4], values_seg = -1.0, values_seg[:, ::-1]
        positions_mm[:, 1] += SPACING_MM[1] * (SHAPE[1] - 1)
    path = write_seg(tmp_path / "seg.dcm", series, values_seg, **placed(positions_mm, orientation))
    np.testing.assert_array_equal(values(read_mask(path, like)), MUSCLE)


def test_frames_cut_to_a_part_of_the_slice_and_turned_keep_their_place(tmp_path, series, like):
    part = np.zeros_like(MUSCLE)
    part[:, 3:8, 2:6] = MUSCLE[:, 3:8, 2:6]
    # Rows of the picture run down the slice's columns.
    positions_mm = np.add(plane_positions(4, SPACING_MM), (2 * SPACING_MM[2], 3 * SPACING_MM[1], 0))
    geometry = placed(positions_mm, (0.0, 1.0, 0.0, 1.0, 0.0, 0.0), (5.0, SPACING_MM[2], SPACING_MM[1]))
    path = write_seg(tmp_path / "seg.dcm", series, part[:, 3:8, 2:6].transpose(0, 2, 1), **geometry)
    np.testing.assert_array_equal(values(read_mask(path, like)), part)


def test_frames_of_a_tilted_series_go_to_their_own_slices(tmp_path):
    write_series(tmp_path / "tilted", body_hu(*SHAPE), SPACING_MM, tilt_degrees=-21)
    path = write_seg(tmp_path / "seg.dcm", tmp_path / "tilted", MUSCLE)
    np.testing.assert_array_equal(values(read_mask(path, read_image(tmp_path / "tilted"))), MUSCLE)


def test_a_frame_on_no_slice_is_refused(tmp_path, series, like):
    path = write_seg(tmp_path / "seg.dcm", series, MUSCLE)
    with pytest.raises(ValueError, match=r"frame \d of .* at \[.*-285\.0\] mm is on no slice"):
        read_mask(path, like[:, :, :3])
    between = np.add(plane_positions(4, SPACING_MM), (0, 0, 1.0))
    path = write_seg(tmp_path / "between.dcm", series, MUSCLE, **placed(between, AXIAL))
    with pytest.raises(ValueError, match=r"frame 1 of .* on no slice of the image, or on other pixels"):
        read_mask(path, like)


@pytest.mark.parametrize("what", ["half a pixel aside", "pixels of twice the size", "turned by 10 degrees"])
def test_frames_on_other_pixels_are_refused(tmp_path, series, like, what):
    positions_mm, orientation, spacing_mm, segment = plane_positions(4, SPACING_MM), AXIAL, SPACING_MM, MUSCLE.copy()
    if what == "half a pixel aside":
        positions_mm[:, 0] += 0.4
    elif what == "pixels of twice the size":
        spacing_mm = (5.0, 1.8, 1.6)
        segment[:, 5:] = segment[:, :, 3:] = False  # what is left would fall within the slice
    else:
        c, s = np.cos(np.radians(10)), np.sin(np.radians(10))
        orientation = (c, s, 0.0, -s, c, 0.0)
    path = write_seg(tmp_path / "seg.dcm", series, segment, **placed(positions_mm, orientation, spacing_mm))
    with pytest.raises(ValueError, match="or on other pixels"):
        read_mask(path, like)


def test_another_frame_of_reference_is_refused_where_it_is_known(tmp_path, series, like):
    path = write_seg(tmp_path / "seg.dcm", series, MUSCLE)
    np.testing.assert_array_equal(values(read_mask(path, like)), MUSCLE)
    like.SetMetaData("0020|0052", "1.9")
    with pytest.raises(ValueError, match=r"frame of reference 1\.2\.3 and the image in 1\.9"):
        read_mask(path, like)


def test_a_segmentation_without_geometry_is_refused(tmp_path, series, like):
    path = write_seg(tmp_path / "seg.dcm", series, MUSCLE)
    header = pydicom.dcmread(path)
    del header.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
    del header.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    header.save_as(path)
    with pytest.raises(ValueError, match=r"frame 1 of .* has no ImageOrientationPatient and no PixelSpacing"):
        read_mask(path, like)
    edit(path, SharedFunctionalGroupsSequence=None)
    with pytest.raises(ValueError, match="names no segment"):
        read_mask(path, like)


def test_a_segmentation_that_describes_fewer_frames_than_it_has_is_refused(tmp_path, series, like):
    path = write_seg(tmp_path / "seg.dcm", series, MUSCLE)
    edit(path, NumberOfFrames=4)
    with pytest.raises(OSError, match="describes 3 of its 4 frames; export it again"):
        read_mask(path, like)


@pytest.mark.parametrize("open_ended", [False, True])
def test_a_segmentation_cut_short_anywhere_is_refused(tmp_path, series, like, open_ended):
    path = write_seg(tmp_path / "seg.dcm", series, MUSCLE)
    header = pydicom.dcmread(path)
    for element in header:  # sequences of stated length and those that end with a delimiter
        element.is_undefined_length = open_ended and element.VR == "SQ"
    header.save_as(path)
    whole = path.read_bytes()
    for kept in range(200, len(whole) - 1, 97):
        (tmp_path / "cut.dcm").write_bytes(whole[:kept])
        with pytest.raises(OSError, match=r"cut\.dcm"):
            read_mask(tmp_path / "cut.dcm", like)


def test_a_real_segmentation_equals_its_makers_label_map(real_ct):
    like = read_image(real_ct / "liver_seg" / "series")
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(real_ct / "liver_seg" / "liver_seg.nrrd"))) > 0
    for name in ("liver.dcm", "liver_seg.nrrd"):
        np.testing.assert_array_equal(values(read_mask(real_ct / "liver_seg" / name, like)), expected)


def test_real_overlapping_segments_have_the_sizes_that_dcmqi_finds(real_ct):
    like = read_image(real_ct / "liver_seg" / "series")
    path = real_ct / "liver_seg" / "partial_overlaps.dcm"
    counts = {"GREEN": 9602, "ORANGE": 11888, "PURPLE": 10743, "LIGHT_BLUE": 6693, "DARK_BLUE": 4713}  # dcmqi 1.5.7
    assert {name: values(read_mask(path, like, name)).sum() for name in counts} == counts
    with pytest.raises(ValueError, match=r"holds 5 labels: 1 \(GREEN\), 2 \(ORANGE\)"):
        read_mask(path, like)
