"""What a study of whole scans says and refuses before anything is trained."""

import dataclasses
import re
from types import SimpleNamespace

import numpy as np
import pytest
from dicom_files import body_hu
from pair_files import ALL_TRAIN, mask_on, pair, write_image

from configs import sarcopenia_classification
from configs.sarcopenia_segmentation import get_config
from mskjax.data import prepare
from mskjax.data.dataset import read_dataset
from mskjax.data.volume_cases import VolumeOptions
from mskjax.data.volume_folder import read_volumes
from mskjax.study import dry_run, sarcopenia, sarcopenia_segmentation, sweep
from mskjax.study.settings import plain

SPACING_MM = (1.0, 1.5, 2.0)  # of slices 5 mm apart: grids through neighbouring slices lie apart


def scan(folder, i, seed=None, **about):
    """A pair of 4 slices of 12 x 10 pixels, whose masks lie on slices 1 and 2."""
    write_image(folder / f"ct/case{i}.nii.gz", body_hu(4, 12, 10, seed=i if seed is None else seed))
    write_image(folder / f"muscle/case{i}.nii.gz", mask_on(1, 2, height=12))
    choice = {"slices": about.pop("slices", "all"), "patient_id": about.pop("patient_id", f"p{i}")}
    return pair(folder, i, case_id=f"C{i}", about=about, **choice)


def write(folder, pairs):
    assert prepare.prepare(pairs, folder / "out", ALL_TRAIN, None, VolumeOptions(SPACING_MM)) == {}
    return folder / "out"


def study(dataset, **fields):
    """Two shuffles in which of either class one patient trains, one validates and one tests."""
    config = get_config("smoke")
    third = (1 / 3, 1 / 3)
    config.update({"dataset": str(dataset), "spacing_mm": SPACING_MM, "devices": 1, **fields})
    config.update({"validation_fractions": third, "test_fractions": third})
    return config


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """A scan with neither label nor mask, and then three patients of either class; none is of the split test."""
    folder = tmp_path_factory.mktemp("cohort")
    write_image(folder / "bare.nii.gz", body_hu(4, 12, 10, seed=99))
    bare = prepare.Pair(folder / "bare.nii.gz", case_id="A", patient_id="A")
    return write(folder, [bare, *(scan(folder, i, sarcopenia=str(i % 2)) for i in range(6))])


def test_a_step_is_measured_on_what_trains(cohort, tmp_path, monkeypatch):
    """The first scan of the dataset has no mask, as it takes no part."""
    batches = []

    def lower(states, arrays, batch, *others):
        batches.append(batch)
        return SimpleNamespace(compile=lambda: lambda states, *others: (states, {}))

    steps = SimpleNamespace(train=SimpleNamespace(lower=lower), evaluate=lambda *arguments: None)
    monkeypatch.setattr(dry_run, "compile_steps", lambda *arguments: steps)
    monkeypatch.setattr(dry_run, "compiled_bytes", lambda compiled: 7)
    told = list(dry_run.dry_run(study(cohort), tmp_path / "study"))
    assert told[-1].startswith("Time, estimated from steps that were measured here")
    assert (batches[0]["label"] == 1).any()


def test_masks_are_those_of_the_cells_own_validation_and_test(cohort, tmp_path):
    """Two cells of two and two cases, of 120 pixels each, though the dataset itself holds nobody out."""
    told = "\n".join(dry_run.dry_run(study(cohort), tmp_path / "study", measured=False))
    assert re.search(r"^8 masks of judged slices, at most +120 B$", told, re.MULTILINE)


def test_what_cannot_be_trained_is_refused_before_it_is_recorded(cohort, tmp_path):
    with pytest.raises(ValueError, match=r"config\.decay is 'linear'; it must be constant or cosine"):
        sweep.sweep(study(cohort, decay="linear"), tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_scans_without_a_label_need_no_mask(cohort):
    """They take no part; all others have both."""
    dataset = read_dataset(cohort)
    sarcopenia_segmentation.check(plain(study(cohort)), dataset)
    labelled = dataclasses.replace(dataset, cases=dataset.cases.assign(sarcopenia=1))
    with pytest.raises(ValueError, match="this study needs a mask on every slice, and 1 of 7 have none"):
        sarcopenia_segmentation.check(plain(study(cohort)), labelled)


def refuse(folder, message):
    """Whether both of study B's halves refuse a dataset, as they draw splits of their own."""
    slices = sarcopenia_classification.get_config("smoke").copy_and_resolve_references()
    slices.dataset = str(folder)
    for kind, config in ((sarcopenia_segmentation, study(folder)), (sarcopenia, slices)):
        with pytest.raises(ValueError, match=message):
            kind.check(plain(config), read_dataset(folder))


def test_one_scan_may_not_be_two_patients_whichever_slice_is_scored(tmp_path):
    """Slices and volumes differ, as the grid is laid through the scored slice; the scan does not."""
    first = scan(tmp_path, 0, slices="1", sarcopenia="1")
    folder = write(tmp_path, [first, scan(tmp_path, 1, seed=0, slices="2", sarcopenia="1")])
    assert len(set(read_volumes(folder).table["volume_sha256"])) == 2
    refuse(
        folder, "cases C0 and C1 are one scan under two patient ids.*leave one out, or give both the same patient_id"
    )
    same = scan(tmp_path, 1, seed=0, slices="2", sarcopenia="1", patient_id="p0")
    sarcopenia_segmentation.check(plain(study(folder)), read_dataset(write(tmp_path, [first, same])))


def test_one_scored_slice_may_not_be_two_patients_though_scans_differ(tmp_path):
    first = scan(tmp_path, 0, slices="1", sarcopenia="1")
    second = scan(tmp_path, 1, slices="1", sarcopenia="1")
    write_image(second.image, np.concatenate([body_hu(4, 12, 10, seed=0)[:2], body_hu(4, 12, 10, seed=1)[2:]]))
    refuse(write(tmp_path, [first, second]), "cases C0 and C1 are one slice under two patient ids")
