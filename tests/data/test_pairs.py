"""Images and masks are matched by name, never by guess."""

from pathlib import Path

import pytest
from dicom_files import body_hu, write_series
from pair_files import dicom_pair

from mskjax.data.pairs import match


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def matched(folder: Path, images: str, masks: str) -> tuple[list[tuple[str, str]], set[str]]:
    pairs, left = match(str(folder / images), str(folder / masks))
    names = [(str(p.image.relative_to(folder)), str(p.mask.relative_to(folder))) for p in pairs]
    return names, {str(Path(path).relative_to(folder)) for path in left}


def test_files_are_matched_by_name(tmp_path):
    touch(tmp_path, "i/a.nii.gz", "i/b.nrrd", "i/c.nii", "i/README.txt", "m/b.nii.gz", "m/a.nii", "m/d.nii")
    names, left = matched(tmp_path, "i", "m")
    assert names == [("i/a.nii.gz", "m/a.nii"), ("i/b.nrrd", "m/b.nii.gz")]
    assert left == {"i/c.nii", "m/d.nii"}


def test_words_for_image_and_mask_do_not_part_them(tmp_path):
    touch(tmp_path, "x/p1_ct.nii.gz", "x/p2_CT.nii.gz", "x/p1_mask.nii.gz", "x/p2-seg.nii.gz")
    names, left = matched(tmp_path, "x/*[tT].nii.gz", "x/p*[kg].nii.gz")
    assert dict(names) == {"x/p1_ct.nii.gz": "x/p1_mask.nii.gz", "x/p2_CT.nii.gz": "x/p2-seg.nii.gz"}
    assert not left


def test_files_are_matched_by_folder(tmp_path):
    touch(tmp_path, "p1/ct.nii.gz", "p1/muscle.nii.gz", "p2/ct.nii.gz", "p2/muscle.nii.gz")
    names, left = matched(tmp_path, "*/ct.nii.gz", "*/muscle.nii.gz")
    assert names == [("p1/ct.nii.gz", "p1/muscle.nii.gz"), ("p2/ct.nii.gz", "p2/muscle.nii.gz")]
    assert not left


def test_ambiguous_and_missing_names_are_refused(tmp_path):
    touch(tmp_path, "i/a.nii.gz", "i/a.nrrd", "m/a.nii.gz", "n/x.nii", "n/y.nii")
    with pytest.raises(ValueError, match=r"a\.nii\.gz, .*a\.nrrd would all be 'a'"):
        matched(tmp_path, "i", "m")
    with pytest.raises(ValueError, match="no image fits a mask by name"):
        matched(tmp_path, "i", "n")
    with pytest.raises(FileNotFoundError, match="names no file"):
        matched(tmp_path, "i", "nowhere/*.nii")


def test_a_folder_of_dicom_is_one_image(tmp_path):
    one = dicom_pair(tmp_path)
    pairs, left = match(str(one.image), str(one.mask))
    assert (pairs, left) == ([one], {})


def test_a_folder_of_one_series_is_one_whole_scan(tmp_path):
    slices = write_series(tmp_path / "ct", body_hu(3))
    pairs, _ = match(str(tmp_path / "ct"), None, whole=True)
    assert [one.image for one in pairs] == [tmp_path / "ct"]
    assert [one.image for one in match(str(tmp_path / "ct"), None)[0]] == slices
    (tmp_path / "ct/deeper").mkdir()
    assert len(match(str(tmp_path / "ct"), None, whole=True)[0]) == 4, "it may hold other patients"
    (tmp_path / "ct/deeper").rmdir()
    touch(tmp_path, "ct/zz.nii")
    assert len(match(str(tmp_path / "ct"), None, whole=True)[0]) == 4


def test_a_folder_of_several_series_is_as_many_scans_as_it_has_files(tmp_path):
    """As enhanced multi-frame files are, one a patient."""
    paths = [*write_series(tmp_path, body_hu(1), stem="a"), *write_series(tmp_path, body_hu(1), stem="b")]
    assert [one.image for one in match(str(tmp_path), None, whole=True)[0]] == paths
    for path in paths:
        path.unlink()
    nameless = write_series(tmp_path, body_hu(2), SeriesInstanceUID=None)
    assert [one.image for one in match(str(tmp_path), None, whole=True)[0]] == nameless


def test_a_folder_lists_what_can_be_read_and_nothing_else(tmp_path):
    slices = write_series(tmp_path / "i", body_hu(3), suffix="", transfer_syntax="1.2.840.10008.1.2.1")
    for path in slices[:2]:
        content = path.read_bytes()
        # Without preamble and file meta, as some archives write it.
        path.write_bytes(content[144 + int.from_bytes(content[140:144], "little") :])
    touch(tmp_path, "i/broken.dcm", "i/other.mha", "i/other.mhd", "i/notes.md", "i/.nii")
    touch(tmp_path, *(f"m/{path.name}.nii" for path in slices), "m/broken.nii", "m/other.nrrd")
    names, left = matched(tmp_path, "i", "m")
    expected = sorted([path.name for path in slices] + ["broken.dcm"])
    assert [image for image, _ in names] == [f"i/{name}" for name in expected]
    assert left == {"m/other.nrrd"}
