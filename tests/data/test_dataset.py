"""The dataset folder comes back as it was written, and a folder that is not whole is refused."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mskjax.data.cases_csv import COLUMNS
from mskjax.data.dataset import Slices, read_dataset, stack, write_dataset
from mskjax.files import sha256


def slices() -> Slices:
    images = [np.full((4, 5), -100, np.int16), np.full((6, 3), 55, np.int16)]
    masks = [np.eye(4, 5, dtype=np.uint8), np.ones((6, 3), np.uint8)]
    return stack(images, masks, [(0.8, 0.7), (1.5, 1.25)], ["a", "b"])


def cases(**columns) -> pd.DataFrame:
    table = {"case_id": ["a", "b"], "patient_id": ["007", "NA"], "slice_index": [3, 0], "source_index": [9, 0]}
    return pd.DataFrame(table | {"split": ["train", "test"]} | columns)


@pytest.fixture
def folder(tmp_path):
    write_dataset(tmp_path / "dataset", slices(), cases(), {"made_by": "a test"})
    return tmp_path / "dataset"


def test_comes_back_as_written(folder):
    dataset = read_dataset(folder)
    for name in ("image_hu", "mask", "shape", "spacing_mm", "case_id"):
        written, read = getattr(slices(), name), getattr(dataset.slices, name)
        assert written.dtype == read.dtype
        np.testing.assert_array_equal(written, read)
    assert list(dataset.cases.columns) == list(COLUMNS)
    assert list(dataset.cases["patient_id"]) == ["007", "NA"]
    assert list(dataset.cases["source_index"]) == [9, 0]
    assert dataset.manifest["made_by"] == "a test"
    assert dataset.manifest["counts"] == {"slices": 2, "patients": 2, "train": 1, "validation": 0, "test": 1}
    assert dataset.manifest["sha256"]["slices.npz"] == sha256(folder / "slices.npz")


def test_columns_are_those_of_the_contract(folder):
    header = (folder / "cases.csv").read_text().splitlines()[0]
    assert header == (
        "case_id,patient_id,image,mask,slice_index,source_index,sex,age_years,height_m,weight_kg,sarcopenia,split"
    )


def test_unknown_values_stay_unknown(tmp_path):
    table = cases(sex=["F", None], height_m=[1.6, None], sarcopenia=[1, None])
    write_dataset(tmp_path, slices(), table, {})
    read = read_dataset(tmp_path).cases
    assert list(read["sex"]) == ["F", ""]
    assert read["height_m"][0] == 1.6 and np.isnan(read["height_m"][1])
    assert read["sarcopenia"][0] == 1 and read["sarcopenia"].isna()[1]


def test_padding_is_air_without_muscle():
    padded = slices()
    assert padded.image_hu.shape == (2, 6, 5)
    assert (padded.image_hu[0, 4:] == -1024).all() and (padded.image_hu[1, :, 3:] == -1024).all()
    assert padded.mask[0, 4:].sum() == padded.mask[1, :, 3:].sum() == 0


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=5))
def test_each_case_is_cut_to_its_true_size(sizes):
    rng = np.random.default_rng(0)
    images = [rng.integers(-1024, 3000, size).astype(np.int16) for size in sizes]
    masks = [rng.integers(0, 2, size).astype(np.uint8) for size in sizes]
    stacked = stack(images, masks, np.ones((len(sizes), 2)), [str(i) for i in range(len(sizes))])
    for i, (image, mask) in enumerate(zip(images, masks, strict=True)):
        image_hu, drawn, _ = stacked.case(i)
        np.testing.assert_array_equal(image_hu, image)
        np.testing.assert_array_equal(drawn, mask)


def test_select_keeps_what_belongs_together():
    chosen = slices().select([1, 0, 1])
    assert list(chosen.case_id) == ["b", "a", "b"]
    assert chosen.spacing_mm.tolist() == [[1.5, 1.25], [0.8, 0.7], [1.5, 1.25]]
    assert chosen.shape.tolist() == [[6, 3], [4, 5], [6, 3]]
    assert len(slices().select([])) == 0


def test_rows_of_a_split(folder):
    dataset = read_dataset(folder)
    assert dataset.rows("test").tolist() == [1]
    assert dataset.rows("validation").tolist() == []
    with pytest.raises(ValueError, match="none of train"):
        dataset.rows("held_out")


@pytest.mark.parametrize("name", ["slices.npz", "cases.csv"])
def test_a_cut_or_altered_file_is_refused(folder, name):
    whole = (folder / name).read_bytes()
    for damaged in (whole[:-7], whole[:30] + b"x" + whole[31:], b""):
        (folder / name).write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{name} is cut short or altered"):
            read_dataset(folder)


@pytest.mark.parametrize("name", ["slices.npz", "cases.csv", "dataset.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        read_dataset(folder)


def test_a_damaged_manifest_is_refused(folder):
    (folder / "dataset.json").write_text('{"format": 1, "coun')
    with pytest.raises(ValueError, match=r"dataset\.json is no JSON \(.*\); delete that file and run launch"):
        read_dataset(folder)
    (folder / "dataset.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="format 1; delete that file"):
        read_dataset(folder)


def test_writing_that_was_interrupted_is_refused(folder, monkeypatch):
    monkeypatch.setattr("mskjax.data.manifest.write_json", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_dataset(folder, slices().select([0]), cases()[:1], {})
    with pytest.raises(ValueError, match="altered"):
        read_dataset(folder)


def resign(folder):
    """Makes the manifest fit the files again, as someone who edits both would."""
    manifest = json.loads((folder / "dataset.json").read_text())
    manifest["sha256"] = {name: sha256(folder / name) for name in manifest["sha256"]}
    (folder / "dataset.json").write_text(json.dumps(manifest))


def test_nothing_in_a_file_is_executed(folder):
    stored = dict(np.load(folder / "slices.npz"))
    stored["case_id"] = np.array([print, "b"], object)
    np.savez(folder / "slices.npz", **stored)
    resign(folder)
    with pytest.raises(ValueError, match="holds no slices"):
        read_dataset(folder)


def test_rows_in_another_order_are_refused(folder):
    header, *rows = (folder / "cases.csv").read_text().splitlines(keepends=True)
    (folder / "cases.csv").write_text(header + "".join(rows[::-1]))
    resign(folder)
    with pytest.raises(ValueError, match=r"case ids of .* differ"):
        read_dataset(folder)


def test_counts_that_differ_are_refused(folder):
    manifest = json.loads((folder / "dataset.json").read_text())
    manifest["counts"]["patients"] = 3
    (folder / "dataset.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="'patients': 3"):
        read_dataset(folder)


WRONG = {
    "columns are": cases(site=["x", "y"]),
    "repeated": cases(case_id=["a", "a"]),
    "case ids of": cases(case_id=["b", "a"]),
    "split must be": cases(split=["train", "held out"]),
    "sex must be": cases(sex=["male", "F"]),
    "sarcopenia must be": cases(sarcopenia=[2, 0]),
    "height_m has a cell": cases(height_m=["tall", ""]),
    "1 rows": cases()[:1],
}


@pytest.mark.parametrize("sentence", WRONG)
def test_cases_that_do_not_fit_are_not_written(tmp_path, sentence):
    stored = slices()
    if sentence == "repeated":
        stored = Slices(stored.image_hu, stored.mask, stored.shape, stored.spacing_mm, np.array(["a", "a"]))
    with pytest.raises(ValueError, match=sentence):
        write_dataset(tmp_path, stored, WRONG[sentence], {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [("mask", 2, "other values than 0 and 1"), ("shape", 7, "true size"), ("spacing_mm", 0.0, "spacing")],
)
def test_arrays_that_cannot_be_are_not_written(tmp_path, name, value, sentence):
    stored = slices()
    getattr(stored, name)[0, 0] = value
    with pytest.raises(ValueError, match=sentence):
        write_dataset(tmp_path, stored, cases(), {})
