import gzip
import re

import pytest
import SimpleITK as sitk
from dicom_files import body_hu

from mskjax.data import read_image, read_mask


def write_nrrd(path, image_hu, *changes):
    """An NRRD file of gzip, or of raw where the header is changed, whose header has other lines or lacks some."""
    image = sitk.GetImageFromArray(image_hu)
    image.SetSpacing((0.9, 0.7, 5.0))
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    image.SetOrigin((20, 30, -40))
    sitk.WriteImage(image, path.with_name("sound.nrrd"))
    sitk.WriteImage(image, path, useCompression=not changes)
    header, end, content = path.read_bytes().partition(b"\n\n")
    for old, new in changes:
        assert re.search(old, header)
        header = re.sub(old, new, header)
    path.write_bytes(header + end + content)
    return path


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.nhdr"])
@pytest.mark.parametrize("read", [read_image, lambda path: read_mask(path, read_image(path.parent / "sound.nrrd"))])
def test_a_damaged_or_unfinished_gzip_stream_of_nrrd_is_refused(tmp_path, name, read):
    path = write_nrrd(tmp_path / name, body_hu(8, 30, 40))
    stored = path if name == "ct.nrrd" else tmp_path / "ct.raw.gz"
    sound = stored.read_bytes()
    start = sound.index(b"\x1f\x8b")
    # The trailer holds 4 bytes of checksum and 4 of length.
    for place in (*range(start + 20, len(sound), len(sound) // 9), len(sound) - 8, len(sound) - 1):
        damaged = bytearray(sound)
        damaged[place] ^= 0x10
        stored.write_bytes(damaged)
        with pytest.raises(OSError, match=rf"{name} is damaged or cut short"):
            read(path)
    for missing in (1, 8, 12):
        stored.write_bytes(sound[:-missing])
        with pytest.raises(OSError, match=rf"{name} is damaged or cut short"):
            read(path)


@pytest.mark.parametrize(
    ("space", "direction", "origin"),
    [
        ("left-posterior-superior", (-1, 0, 0, 0, -1, 0, 0, 0, 1), (20, 30, -40)),
        ("right-anterior-superior", (1, 0, 0, 0, 1, 0, 0, 0, 1), (-20, -30, -40)),
        ("left-anterior-superior", (-1, 0, 0, 0, 1, 0, 0, 0, 1), (20, -30, -40)),
        ("RAS", (1, 0, 0, 0, 1, 0, 0, 0, 1), (-20, -30, -40)),
        ("LAS", (-1, 0, 0, 0, 1, 0, 0, 0, 1), (20, -30, -40)),
        ("LPS", (-1, 0, 0, 0, -1, 0, 0, 0, 1), (20, 30, -40)),
    ],
)
def test_the_space_of_nrrd_turns_its_axes_into_the_patients(tmp_path, space, direction, origin):
    path = write_nrrd(tmp_path / "ct.nrrd", body_hu(2), (rb"left-posterior-superior", space.encode()))
    image = read_image(path)
    assert image.GetDirection() == pytest.approx(direction)
    assert image.GetOrigin() == pytest.approx(origin)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([(rb"left-posterior-superior", b"scanner-xyz")], r"does not say where its axes point .*space: scanner-xyz"),
        ([(rb"left-posterior-superior", b"3D-right-handed")], r"does not say .*space: 3D-right-handed"),
        ([(rb"space:.*\n", b"space dimension: 3\n")], r"does not say where its axes .*space: none"),
        ([(rb"space directions.*\n", b"")], "has no space directions; write it with its geometry"),
        ([(rb"\nspace origin.*", b"")], "has no space origin; write it with its geometry"),
        ([(rb"$", b'\nspace units: "cm" "cm" "cm"')], r"does not measure in mm \(space units: cm\)"),
        ([(rb"encoding: raw", b"encoding: bzip2")], "has the encoding 'bzip2', which cannot be checked"),
        ([(rb"$", b"\nbyte skip: 4")], "skips parts of its data"),
        ([(rb"$", b"\ndata file: ct%03d.raw 1 2 1")], "spreads its data over several files"),
    ],
)
def test_an_nrrd_of_doubtful_geometry_or_coding_is_refused(tmp_path, changes, message):
    for number in (1, 2):
        (tmp_path / f"ct00{number}.raw").write_bytes(bytes(240))
    path = write_nrrd(tmp_path / "ct.nrrd", body_hu(2), *changes)
    with pytest.raises(ValueError, match=rf"ct\.nrrd {message}"):
        read_image(path)


def test_an_nrrd_whose_data_do_not_fit_its_header_is_refused(tmp_path):
    with pytest.raises(OSError, match="has a header of other data: its voxels need 240 bytes and 480 are there"):
        read_image(write_nrrd(tmp_path / "ct.nrrd", body_hu(2), (rb"sizes: 10 12 2", b"sizes: 10 12 1")))
    path = write_nrrd(tmp_path / "ct.nhdr", body_hu(2))
    (tmp_path / "ct.raw.gz").write_bytes(gzip.compress(bytes(400)))
    with pytest.raises(OSError, match=r"ct\.nhdr is cut short: its voxels need 480 bytes and 400 are there"):
        read_image(path)
    (tmp_path / "ct.raw.gz").unlink()
    with pytest.raises(OSError, match=r"ct\.nhdr is damaged or cut short"):
        read_image(path)
