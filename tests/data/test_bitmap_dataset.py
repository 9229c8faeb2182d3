"""Bitmaps with masks and labels become a dataset of grey levels, which is refused where HU are meant."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from dicom_files import body_hu
from pair_files import ALL_TRAIN, mask_on, write_image
from picture_files import cohort_of_bitmaps, plain, save, square

from mskjax.data import prepare
from mskjax.data.dataset import Dataset, read_dataset, require_hu, require_masks, stack, write_dataset
from mskjax.data.pairs import Pair

LABELS = "case,sarcopenia,sex\np0,1,F\np1,0,M\np2,0,F\n"


@pytest.fixture
def bitmaps(tmp_path):
    (tmp_path / "labels.csv").write_text(LABELS)
    return cohort_of_bitmaps(tmp_path)


def prepared(folder, *, masks=True, labels=True, out="out", table=None) -> tuple[Dataset, dict[str, str]]:
    named = {"images": None if table else str(folder / "slices"), "table": table and str(folder / table)}
    named |= {"masks": str(folder / "outlined") if masks and not table else None}
    named |= {"labels": str(folder / "labels.csv") if labels else None}
    pairs, left = prepare.collect(**named)
    failed = left | prepare.prepare(pairs, folder / out, ALL_TRAIN)
    return read_dataset(folder / out), failed


def test_pairs_of_bitmaps_become_grey_levels_masks_and_labels(bitmaps):
    dataset, failed = prepared(bitmaps)
    assert not failed and dataset.values == dataset.manifest["values"] == "grey"
    assert dataset.manifest["spacing_known"] is False
    np.testing.assert_array_equal(dataset.slices.image_hu, [plain(i) for i in range(3)])
    np.testing.assert_array_equal(dataset.slices.mask, [square()] * 3)
    assert (dataset.slices.spacing_mm == 1).all()
    assert dataset.cases["sarcopenia"].tolist() == [1, 0, 0] and dataset.cases["sex"].tolist() == ["F", "M", "F"]
    assert dataset.cases["patient_id"].nunique() == dataset.cases["case_id"].nunique() == 3
    assert dataset.cases["mask"].tolist() == [str(bitmaps / f"outlined/p{i}.png") for i in range(3)]


def test_a_ct_dataset_says_hu(tmp_path):
    write_image(tmp_path / "ct.nii", body_hu(1))
    write_image(tmp_path / "mask.nii", mask_on(0, depth=1))
    prepare.prepare([Pair(tmp_path / "ct.nii", tmp_path / "mask.nii")], tmp_path / "out", ALL_TRAIN)
    dataset = read_dataset(tmp_path / "out")
    assert dataset.values == "hu" and dataset.manifest["spacing_known"] is True
    require_hu(dataset, "task segmentation")
    require_masks(dataset, "task segmentation")
    unnamed = replace(dataset, cases=dataset.cases.assign(mask=""))
    require_masks(unnamed, "task segmentation")  # of a program that drew the masks itself


def test_slices_with_labels_need_no_masks(bitmaps, caplog):
    (bitmaps / "labels.csv").write_text("case,sarcopenia\np0,1\np1,0\n")
    with caplog.at_level("INFO"):
        dataset, failed = prepared(bitmaps, masks=False)
    assert list(dataset.cases["mask"]) == ["", ""] and not dataset.slices.mask.any()
    assert list(failed) == [str(bitmaps / "slices/p2.png")]
    assert "has neither a mask nor a label" in failed[str(bitmaps / "slices/p2.png")]
    assert any("2 slices of 2 cases (2 train); 1 sarcopenic, 1 not; 2 without a mask" in m for m in caplog.messages)


def test_a_csv_mixes_cases_with_and_without_a_mask(bitmaps):
    save(bitmaps / "window.png", plain(1) // 2)
    rows = (
        "case_id,patient_id,image,mask,mask_plain,sex,sarcopenia,split",
        "A,one,slices/p0.png,outlined/p0.png,,F,1,train",
        "B,two,window.png,outlined/p1.png,slices/p1.png,M,0,test",
        "C,two,slices/p2.png,,,M,0,test",
    )
    (bitmaps / "cases.csv").write_text("\n".join(rows))
    dataset, failed = prepared(bitmaps, labels=False, table="cases.csv")
    assert not failed and dataset.slices.mask.any(axis=(1, 2)).tolist() == [True, True, False]
    np.testing.assert_array_equal(dataset.slices.image_hu[1], plain(1) // 2)
    assert dataset.cases["patient_id"].tolist() == ["one", "two", "two"]
    with pytest.raises(ValueError, match="task x needs a mask on every slice, and 1 of 3 have none, such as case C;"):
        require_masks(dataset, "task x")
    require_masks(dataset.select(np.array([0, 1])), "task x")


def test_grey_levels_are_refused_where_hu_are_meant(bitmaps):
    dataset, _ = prepared(bitmaps)
    with pytest.raises(ValueError, match=r"^the sweep needs HU and pixel sizes, and this dataset holds grey levels"):
        require_hu(dataset, "the sweep")


def test_a_label_that_was_taken_back_counts(bitmaps):
    pairs, _ = prepare.collect(str(bitmaps / "slices"), None, None, labels=str(bitmaps / "labels.csv"))
    prepare.prepare(pairs, bitmaps / "out", ALL_TRAIN)
    failed = prepare.prepare([pairs[0], replace(pairs[1], about={})], bitmaps / "out", ALL_TRAIN)
    assert failed[str(bitmaps / "slices/p1.png")].startswith("has neither a mask nor a label")


NO_SCAN = "is a bitmap, which is one slice; leave slice, label, series and level out"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"slices": "3"}, NO_SCAN),
        ({"label": ("1",)}, NO_SCAN),
        ({"series": "2"}, NO_SCAN),
        ({"level_mask": Path(__file__)}, NO_SCAN),
        (
            {"mask": "p0.nii"},
            r"\S+p0\.nii is to be the mask of the bitmap \S+p0\.png, and is no bitmap; give a copy of the slice",
        ),
        ({"image": "outlined/p0.png", "mask": "slices/p0.png"}, "has colours"),
    ],
)
def test_bitmaps_that_do_not_fit_are_refused(bitmaps, fields, sentence):
    """The sentence goes on from the image's path, under which it is told."""
    asked = {"image": "slices/p0.png", "mask": "outlined/p0.png", **fields}
    write_image(bitmaps / "p0.nii", mask_on(0, depth=1))
    files = {name: bitmaps / asked.pop(name) for name in ("image", "mask")}
    (why,) = prepare.prepare([Pair(**files, **asked)], bitmaps / "out", ALL_TRAIN).values()
    assert re.match(sentence, why)


def test_bitmaps_and_ct_do_not_mix(bitmaps):
    mixed = [Pair(bitmaps / "slices/p0.png", bitmaps / "outlined/p0.png"), Pair(bitmaps / "ct.nii", bitmaps / "m.nii")]
    with pytest.raises(ValueError, match=r"1 of 2 images are bitmaps, such as \S+p0\.png, and the others CT, such as"):
        prepare.prepare(mixed, bitmaps / "out", ALL_TRAIN)
    assert not (bitmaps / "out").exists()


def test_a_patient_with_two_labels_is_refused(bitmaps):
    pairs, _ = prepare.collect(str(bitmaps / "slices"), None, None, labels=str(bitmaps / "labels.csv"))
    one = [replace(pair, patient_id="p", case_id=f"c{i}") for i, pair in enumerate(pairs)]
    with pytest.raises(ValueError, match=r"cases c0 \(1\) and c1 \(0\) of patient p differ in sarcopenia"):
        prepare.prepare(one, bitmaps / "out", ALL_TRAIN)
    assert not (bitmaps / "out/dataset.json").exists()


def test_labels_may_be_added_and_not_lost(bitmaps):
    first = {"images": str(bitmaps / "slices"), "masks": str(bitmaps / "outlined")}
    more = {**first, "labels": str(bitmaps / "labels.csv")}
    for source in (first, more):
        pairs, _ = prepare.collect(first["images"], first["masks"], None, labels=source.get("labels"))
        prepare.prepare(pairs, bitmaps / "out", ALL_TRAIN, source)
    assert read_dataset(bitmaps / "out").cases["sarcopenia"].tolist() == [1, 0, 0]
    with pytest.raises(
        ValueError, match=r"made from \S+ \S+ --labels=\S+labels\.csv, and --images=.* would replace it"
    ):
        prepare.prepare(pairs, bitmaps / "out", ALL_TRAIN, first)


def test_labels_reach_the_slices_of_ct(tmp_path):
    for i in range(2):
        write_image(tmp_path / f"ct/p{i}_ct.nii", body_hu(4, seed=i))
        write_image(tmp_path / f"m/p{i}_mask.nii", mask_on(1, 2))
    (tmp_path / "labels.csv").write_text("case;sarcopenia\np0;0\np1;1\n")
    pairs, _ = prepare.collect(str(tmp_path / "ct"), str(tmp_path / "m"), None, labels=str(tmp_path / "labels.csv"))
    prepare.prepare(pairs, tmp_path / "out", ALL_TRAIN)
    assert read_dataset(tmp_path / "out").cases["sarcopenia"].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("image", "spacing_mm", "values", "sentence"),
    [
        (256, 1.0, "grey", "a grey level is not from 0 to 255"),
        (-1, 1.0, "grey", "a grey level is not from 0 to 255"),
        (7, 0.8, "grey", "bitmaps have no spacing, and 1.0 mm is to stand for it"),
        (7, 1.0, "gray", "the values 'gray' of dataset.json are none of hu, grey"),
    ],
)
def test_grey_levels_that_cannot_be_are_not_written(tmp_path, image, spacing_mm, values, sentence):
    slices = stack([np.full((2, 3), image, np.int16)], [np.zeros((2, 3), np.uint8)], [(spacing_mm, 1.0)], ["a"])
    cases = pd.DataFrame({"case_id": ["a"], "slice_index": [0], "source_index": [0], "split": ["train"]})
    with pytest.raises(ValueError, match=sentence):
        write_dataset(tmp_path / "out", slices, cases, {"values": values})
    write_dataset(tmp_path / "out", slices, cases, {})


def test_a_dataset_from_before_is_of_hu(tmp_path):
    slices = stack([np.full((2, 3), 7, np.int16)], [np.zeros((2, 3), np.uint8)], [(1.0, 1.0)], ["a"])
    cases = pd.DataFrame({"case_id": ["a"], "slice_index": [0], "source_index": [0], "split": ["train"]})
    write_dataset(tmp_path, slices, cases, {})
    manifest = json.loads((tmp_path / "dataset.json").read_text())
    (tmp_path / "dataset.json").write_text(json.dumps({k: v for k, v in manifest.items() if k != "values"}))
    assert read_dataset(tmp_path).values == "hu"
