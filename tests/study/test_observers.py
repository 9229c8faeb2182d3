"""Readers are scored by the same measures as networks, on squares whose scores are known."""

import math

import numpy as np
import pandas as pd
import pytest
import reader_files
import SimpleITK as sitk
from pair_files import mask_on

from mskjax.data import phantom_scans, prepare
from mskjax.data.dataset import read_dataset
from mskjax.data.pairs import Pair
from mskjax.study import observers
from mskjax.study.case_scores import COLUMNS, read_cases, write_cases

PIXEL_CM2 = 2.0 * 1.0 / 100


def write(path, array):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 2.0, 5.0))
    sitk.WriteImage(image, str(path))
    return path


def square(row=10, column=10, size=10):
    mask = np.zeros((1, 40, 30), np.uint8)
    mask[:, row : row + size, column : column + size] = 1
    return mask


def image_hu(number):
    """Muscle of 50 HU in fat and air, with a block of bone in the upper left corner of the square."""
    image = np.full((1, 40, 30), -1000, np.int16)
    image[0, 3:37, 3:27], image[0, 8:32, 8:22] = -100, 50
    image[0, 10:12, 10:12] = 1000
    image[0, 30, 20] = number  # no two patients are alike
    return image


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """The folder with readers' files, and the dataset of test cases p0, p1 and p2, all with the same square."""
    folder = tmp_path_factory.mktemp("study")
    pairs = []
    for i in range(3):
        image, mask = write(folder / f"ct{i}.nii", image_hu(i)), write(folder / f"expert{i}.nii", square())
        pairs.append(Pair(image, mask, case_id=f"p{i}", patient_id=f"p{i}", slices="0", about={"split": "test"}))
    assert prepare.prepare(pairs, folder / "dataset", prepare.Shares(0.0, 0.0)) == {}
    for name, mask in {"shifted": square(column=11), "copy": square(), "none": square(size=0)}.items():
        write(folder / f"{name}.nii", mask)
    return folder, read_dataset(folder / "dataset")


def table(folder, *lines):
    (folder / "readers.csv").write_text("\n".join(("case,reader,file", *lines)) + "\n", encoding="utf-8")
    return folder / "readers.csv"


def test_scores_of_squares_are_known(study, tmp_path):
    folder, dataset = study
    lines = "p1,Shift,shifted.nii", "p0,None,none.nii", "p0,Copy,copy.nii"
    scores = observers.score_observers(table(folder, *lines), dataset)
    assert tuple(scores.columns) == COLUMNS
    assert scores["case_id"].tolist() == ["p0", "p0", "p1"] and scores["reader"].tolist() == ["None", "Copy", "Shift"]
    assert set(scores["init"]) == {"observers"} and scores[["n", "fold", "draw", "seed"]].isna().all(axis=None)
    assert scores["dice"].tolist() == [0, 1, 0.9]
    # Of the shifted square's 36 boundary pixels, all 18 of its ends are one column, 1 mm, from the expert's.
    assert scores["rms_dta_cm"].tolist() == [math.inf, 0, pytest.approx(math.sqrt(18 / 36) / 10)]
    assert scores["sma_cm2"].tolist() == pytest.approx([0, 100 * PIXEL_CM2, 100 * PIXEL_CM2])
    assert scores["smd_hu"].isna().tolist() == [True, False, False]
    write_cases(tmp_path / "observers.csv", scores)
    pd.testing.assert_frame_equal(read_cases(tmp_path / "observers.csv"), scores)


def test_bone_stays_in_what_readers_drew(study):
    folder, dataset = study
    scores = observers.score_observers(table(folder, "p0,A,copy.nii", "p0,B,shifted.nii"), dataset)
    with_bone = 50 + 4 * 950 / 100
    assert scores["smd_hu"].tolist() == pytest.approx([with_bone, 50 + 2 * 950 / 100])
    assert scores["reference_smd_hu"].tolist() == pytest.approx([with_bone] * 2)
    assert scores["sma_cm2"].tolist() == scores["reference_sma_cm2"].tolist()


def readings(*rows):
    """Scores of (case, reader, dice, rms_dta_cm, sma_cm2, smd_hu) against an expert of 100 cm2 and 40 HU."""
    columns = ["case_id", "reader", "dice", "rms_dta_cm", "sma_cm2", "smd_hu"]
    return pd.DataFrame(rows, columns=pd.Index(columns)).assign(reference_sma_cm2=100.0, reference_smd_hu=40.0)


SCORES = readings(
    ("a", "A", 0.8, 0.1, 98.0, 39.0),
    ("a", "B", 0.9, 0.3, 96.0, 37.0),
    ("b", "A", 0.7, 0.5, 103.0, 41.0),
    ("b", "B", 0.0, math.inf, 0.0, math.nan),
    ("c", "A", 1.0, 0.0, 100.0, 40.0),
)


def test_the_summary_counts_what_it_leaves_out():
    rows = observers.summarise_observers(SCORES).set_index("metric")
    assert rows.index.tolist() == ["dice", "rms_dta_cm", "smd_difference_hu", "sma_difference_cm2"]
    assert rows["non_finite"].tolist() == [0, 1, 1, 0]
    counts = rows[["readings", "readers", "cases", "cases_with_fewer_readers"]].to_numpy()
    assert (counts == [5, 2, 3, 1]).all()
    # Of 0.8, 0.9, 0.7, 0, 1: the squares of the distances to 0.68 add up to 0.628.
    assert rows.loc["dice", "mean"] == pytest.approx(0.68)
    assert rows.loc["dice", "sd"] == pytest.approx(math.sqrt(0.628 / 4))
    assert rows.loc["dice", "standard_error"] == pytest.approx(math.sqrt(0.628 / 4 / 5))
    # Of the cases' means 0.2, 0.5 and 0: 0.3, 0.233 and -0.233 from their mean.
    assert rows.loc["rms_dta_cm", "mean"] == pytest.approx(0.225)
    expected = np.std([0.2, 0.5, 0.0], ddof=1) / math.sqrt(3)
    assert rows.loc["rms_dta_cm", "standard_error_of_cases"] == pytest.approx(expected)
    assert rows.loc["smd_difference_hu", "mean"] == pytest.approx((-1 - 3 + 1 + 0) / 4)
    assert rows.loc["sma_difference_cm2", "mean"] == pytest.approx((-2 - 4 + 3 - 100 + 0) / 5)


def test_the_answer_is_one_sentence():
    said = observers.answer(SCORES)
    assert said.startswith(
        "5 masks of 3 cases by 2 readers: DSC 0.680 ± 0.177, RMS-DTA 0.225 ± 0.111 cm without 1 that "
    )
    assert "SMD difference -0.750 ± 0.854 HU without 1" in said and "SMA difference -20.600" in said
    assert "reader minus expert; bone is removed from predictions only" in said


def test_cautions_name_what_misleads():
    undrawn, fewer, empty, alike = observers.cautions(SCORES, ["a", "b", "c", "d", "e"])
    assert undrawn == "no reader drew 2 of 5 test cases: d, e"
    assert fewer == "fewer than 2 readers drew 1 case: c"
    assert "1 mask of readers without a pixel" in empty and empty.endswith(": b by B")
    assert "1 mask of readers with exactly the expert's pixels" in alike and alike.endswith(": c by A")
    assert observers.cautions(SCORES.iloc[:2], ["a"]) == []
    (strange,) = observers.cautions(
        readings(("a", "A", 0.49, 3.0, 90.0, 30.0), ("b", "A", 0.5, 3.0, 90.0, 30.0)), ["a"]
    )
    assert "1 mask of readers with Dice below 0.5" in strange and strange.endswith(": a by A")
    many = observers.cautions(SCORES.iloc[:2], ["a", *map(str, range(13))])
    assert many == ["no reader drew 13 of 14 test cases: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 3 more"]


def test_cautions_are_logged(study, caplog):
    folder, dataset = study
    observers.score_observers(table(folder, "p1,A,shifted.nii"), dataset)
    assert "readers.csv: no reader drew 2 of 3 test cases: p0, p2" in caplog.text


@pytest.mark.parametrize(("name", "word"), [("Random", "an initialisation"), ("observers", "all readers")])
def test_a_reader_may_not_be_called_as_an_initialisation(study, name, word):
    folder, dataset = study
    with pytest.raises(ValueError, match=rf"csv, line 3: a reader is called '{name}', as the study calls {word}; cho"):
        observers.read_observers(table(folder, "p1,A,copy.nii", f"p1,{name},shifted.nii"), dataset)


def test_masks_of_chosen_cases_can_be_drawn(study):
    folder, dataset = study
    listed = table(folder, "p1,A,copy.nii", "p2,A,shifted.nii", "p2,B,copy.nii")
    found = {(case_id, reader): mask for case_id, reader, mask in observers.read_observers(listed, dataset, {"p2"})}
    assert list(found) == [("p2", "A"), ("p2", "B")]
    np.testing.assert_array_equal(found["p2", "A"], square(column=11)[0] == 1)


def test_scores_do_not_depend_on_how_an_image_is_stored(tmp_path):
    drawn, scores = np.roll(mask_on(1, 2), 1, axis=2), []
    for orientation in ("LPS", "RIA"):
        folder = tmp_path / orientation
        dataset = reader_files.prepared(folder, orientation)
        reader_files.write(folder / "a.nii", drawn)
        scores.append(observers.score_observers(table(folder, "anna_s002,A,a.nii", "anna_s001,A,a.nii"), dataset))
    pd.testing.assert_frame_equal(*scores)
    assert scores[0]["dice"].between(0.5, 0.9).all()


def test_readers_of_phantoms_reach_what_radiographers_do(tmp_path, monkeypatch):
    """Study A prints DSC 0.901, RMS-DTA 0.318 cm, SMD difference -6.0 HU and SMA difference -5.1 cm2."""
    monkeypatch.setattr(phantom_scans, "_write_volume", lambda *_: None)  # takes seconds
    prepare.prepare_phantoms(8, tmp_path, 192, shares=prepare.Shares(0.1, 0.8))
    listed = observers.default_observers(tmp_path)
    assert listed is not None
    scores = observers.score_observers(listed, read_dataset(tmp_path))
    rows = observers.summarise_observers(scores).set_index("metric")
    assert rows[["readings", "readers", "cases", "cases_with_fewer_readers"]].iloc[0].tolist() == [30, 10, 6, 0]
    assert rows.loc["dice", "mean"] == pytest.approx(0.901, abs=0.025)
    assert rows.loc["rms_dta_cm", "mean"] == pytest.approx(0.318, abs=0.12)
    assert rows.loc["smd_difference_hu", "mean"] == pytest.approx(-6.0, abs=4.0)
    assert rows.loc["sma_difference_cm2", "mean"] == pytest.approx(-5.1, abs=10.0)


def test_a_dataset_of_patients_brings_no_readers(study):
    assert observers.default_observers(study[0] / "dataset") is None
