"""A dataset of volumes made again: no work is done twice, and nothing is left half-written or behind."""

import errno
import resource
from dataclasses import replace

import numpy as np
import pytest
from dicom_files import body_hu
from pair_files import ALL_TRAIN, mask_on, pair, write_image
from volume_files import HALVED, assert_as_written, make, state

from mskjax.data import npy_files, prepare, volume_cases
from mskjax.data.volume_cases import VolumeOptions
from mskjax.data.volume_folder import read_volumes


def test_what_is_done_is_skipped_and_what_was_harmed_is_made_again(cohort, volume_dataset, monkeypatch):
    before = state(volume_dataset)
    with monkeypatch.context() as patched:
        patched.setattr(volume_cases, "_make", lambda *_: pytest.fail("made again"))
        make(cohort)
    assert state(volume_dataset) == before
    for name in ("volumes", "labels", "prepared"):
        for path in (volume_dataset / name).iterdir():
            path.write_bytes(path.read_bytes()[:-1])
    (volume_dataset / "volumes.csv").unlink()
    assert make(cohort) == {}
    assert_as_written(volume_dataset)
    for name, (_, content) in before.items():
        assert name.suffix == ".npz" or (volume_dataset / name).read_bytes() == content, name


@pytest.mark.parametrize("kind", ["volumes", "labels"])
def test_a_byte_that_changed_is_found_when_it_is_looked_for(cohort, volume_dataset, kind, caplog):
    path = sorted((volume_dataset / kind).iterdir())[1]
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    make(cohort)
    assert path.read_bytes() != whole, "its size is right"
    assert not caplog.messages
    caplog.set_level("INFO")
    make(cohort, replace(HALVED, verify=True))
    assert path.read_bytes() == whole
    assert_as_written(volume_dataset)
    assert f"{path} was altered since it was written; it is made anew" in caplog.messages
    assert "verified 3 volumes: 1 altered and made anew" in caplog.messages
    assert sum("made anew" in message for message in caplog.messages) == 2


def test_all_that_was_harmed_is_told(cohort, volume_dataset, caplog):
    first, last = (sorted(volume_dataset.glob("volumes/*"))[i] for i in (0, -1))
    label, scored = volume_dataset / f"labels/{first.name}", volume_dataset / f"prepared/{first.stem}.npz"
    harmed = [first, label, scored, last]
    for path in harmed[:3]:
        path.write_bytes(path.read_bytes()[:-10] + b"0123456789")
    harmed[3].unlink()
    make(cohort, replace(HALVED, verify=True))
    assert {message.split(";")[0] for message in caplog.messages} == {
        *(f"{path} was altered since it was written" for path in harmed[:3]),
        f"{harmed[3]} is missing",
    }


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
    assert_as_written(cohort / "out")


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


def test_drawn_slices_that_do_not_train_are_told(cohort, caplog):
    """Planes lie every 0.4 slices from slice 5 on, and so on no even one, and between 5 and 6 alone of drawn ones."""
    image_hu = body_hu(15, 12, 10)
    image_hu[:4] = -1000  # so that the box begins above the first plane
    write_image(cohort / "ct/case0.nii.gz", image_hu)
    write_image(cohort / "muscle/case0.nii.gz", mask_on(5, 6, 8, 10, 12, 14, depth=15))
    options = VolumeOptions((1.0, 1.5, 2.0))
    assert prepare.prepare([pair(cohort, slices="5")], cohort / "out", ALL_TRAIN, None, options) == {}
    (told,) = caplog.messages
    assert told.startswith(
        f"of the mask {cohort}/muscle/case0.nii.gz, 4 drawn slices (8, 10, 12, ...; 0-based from the"
    )
    volumes = read_volumes(cohort / "out")
    assert volumes.box(0)[0].start > 0 and len(volumes.label(0)[0]) == 3, "on 5, 5.4 and 5.8"


def test_another_box_makes_all_anew(cohort, volume_dataset):
    options = VolumeOptions((1.0, 1.5, 2.5), False)
    former = {path.name for path in (volume_dataset / "volumes").iterdir()}
    assert make(cohort, options) == {}
    volumes = read_volumes(volume_dataset)
    assert volumes.spacing_mm == options.spacing_mm
    assert volumes.manifest["made_by"]["options"]["foreground"] == options.foreground
    present = {path.name for path in (volume_dataset / "volumes").iterdir()}
    assert len(present) == 3 and not present & former, "the former ones are forgotten"


@pytest.mark.parametrize(
    ("options", "asked"), [(VolumeOptions((1.0, 1.5, 5.0)), r"volumes \(.*=1,1.5,5\)"), (None, "slices")]
)
def test_another_kind_or_spacing_is_refused_before_any_work(cohort, volume_dataset, options, asked, monkeypatch):
    before = state(volume_dataset)
    monkeypatch.setattr(prepare, "finish_all", lambda *_: pytest.fail("worked"))
    sentence = (
        rf"json tells of volumes \(--spacing_mm=1,1.5,2.5\), and {asked}.* would replace them; name another --output"
    )
    with pytest.raises(ValueError, match=sentence):
        make(cohort, options)
    with pytest.raises(ValueError, match=sentence):
        prepare.prepare_phantoms(3, volume_dataset, 32, volumes=options)
    assert state(volume_dataset) == before


def test_volumes_do_not_replace_slices(cohort):
    make(cohort, None)
    with pytest.raises(
        ValueError, match=r"tells of slices \(no --spacing_mm\), and volumes .*1,1.5,2.5\) would replace"
    ):
        make(cohort)


def test_slices_in_the_place_of_volumes_leave_none_and_touch_no_files_of_the_users(cohort, volume_dataset):
    (volume_dataset / "dataset.json").unlink()  # or they would be refused
    (volume_dataset / "labels/mine.nii.gz").write_bytes(b"mine")
    (volume_dataset / "volumes/case0.npy").write_bytes(b"mine")
    assert prepare.prepare([pair(cohort)], volume_dataset, ALL_TRAIN) == {}
    assert [path.name for name in ("volumes", "labels") for path in (volume_dataset / name).iterdir()] == [
        "case0.npy",
        "mine.nii.gz",
    ]
    assert not (volume_dataset / "volumes.csv").exists()
    with pytest.raises(ValueError, match="holds slices, not volumes"):
        read_volumes(volume_dataset)


def test_a_dataset_from_other_images_is_not_replaced(cohort):
    pairs, source = [pair(cohort)], {"images": str(cohort / "ct"), "masks": str(cohort / "muscle")}
    prepare.prepare(pairs, cohort / "out", ALL_TRAIN, source, HALVED)
    with pytest.raises(ValueError, match="would replace it; name another --output"):
        prepare.prepare(pairs, cohort / "out", ALL_TRAIN, {"images": str(cohort / "muscle")}, HALVED)
