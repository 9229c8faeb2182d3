"""Labels from a second table reach the cases that they name, and nothing contradictory or unnamed passes."""

from pathlib import Path

import pandas as pd
import pytest

from mskjax.data.case_labels import join, refuse_contradictions
from mskjax.data.pairs import Pair

HEADER = "case,sarcopenia,sex,patient_id"


def write(folder: Path, *rows: str, header: str = HEADER) -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8-sig")
    return path


def test_a_row_names_its_case_by_id_file_or_folder(tmp_path):
    pairs = [
        Pair(tmp_path / "a.png", case_id="A7"),
        Pair(tmp_path / "007.nii.gz"),
        Pair(tmp_path / "p3_ct.nrrd"),
        Pair(tmp_path / "p4/scan.nii"),
        Pair(tmp_path / "series"),
        Pair(tmp_path / "without.png"),
    ]
    rows = ("A7,1,F,", "007,0,male,x", "p3,1,,", "p4,0,M,", "series,,F,")
    told = join(pairs, write(tmp_path, *rows))
    assert [pair.about.get("sarcopenia") for pair in told] == ["1", "0", "1", "0", None, None]
    assert [pair.about.get("sex") for pair in told] == ["F", "M", None, "M", "F", None]
    assert [pair.patient_id for pair in told] == ["", "x", "", "", "", ""]
    assert [pair.image for pair in told] == [pair.image for pair in pairs]


def test_slices_of_one_image_share_a_row(tmp_path):
    pairs = [Pair(tmp_path / "p.nii", slices=k, case_id=f"s{k}", about={"split": "train"}) for k in ("1", "2")]
    assert [pair.about for pair in join(pairs, write(tmp_path, "p,1,,"))] == [{"split": "train", "sarcopenia": "1"}] * 2


def test_rows_and_cases_without_a_partner_are_told(tmp_path, caplog):
    pairs = [Pair(tmp_path / f"{name}.png") for name in "ab"]
    join(pairs, write(tmp_path, "a,1,", "c,0,", "d,0,", header="case,sarcopenia,remark"))
    unused, unknown, bare = sorted(
        caplog.messages, key=lambda text: "no row" in text or "name no" in text, reverse=True
    )
    assert {unused.split("labels.csv: ")[1], unknown.split("labels.csv: ")[1]} == {
        "2 of 3 rows name no case here, as c, d",
        f"1 of 2 cases have no row, as {tmp_path}/b.png",
    }
    assert bare.endswith("columns remark are not used")


WRONG = {
    r"line 2: sarcopenia is '2', not one of 0, 1 or empty": ("a,2,,",),
    r"line 2: sex is 'x'": ("a,1,x,",),
    r"line 3: case 'a' stands there already": ("a,1,,", "a,1,,"),
    r"line 2: case is empty": (",1,,",),
    r"its rows are of z, the images are called a, b; write these names": ("z,1,,",),
    r"line 2: 'twice' names 2 images, \S+one/twice\.png and \S+two/twice\.png": ("twice,1,,",),
    r"line 2: sarcopenia of \S+b\.png is '0', and '1' in cases\.csv, line 9; correct one": ("b,0,,",),
    r"line 2: patient_id of \S+b\.png is 'q', and 'p' in cases\.csv, line 9": ("b,1,,q",),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_labels_that_cannot_be_are_refused(tmp_path, sentence):
    known = {"patient_id": "p", "about": {"sarcopenia": "1"}, "listed_at": "cases.csv, line 9"}
    pairs = [Pair(tmp_path / "a.png"), Pair(tmp_path / "b.png", **known)]
    if "twice" in sentence:
        pairs += [Pair(tmp_path / folder / "twice.png") for folder in ("one", "two")]
    with pytest.raises(ValueError, match=sentence):
        join(pairs, write(tmp_path, *WRONG[sentence]))


def test_labels_without_sarcopenia_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"labels\.csv lacks the column sarcopenia; it has case, Sarcopenia"):
        join([Pair(tmp_path / "a.png")], write(tmp_path, "a,1", header="case,Sarcopenia"))
    with pytest.raises(OSError, match=r"no\.csv cannot be read .*; name a CSV of labels"):
        join([Pair(tmp_path / "a.png")], tmp_path / "no.csv")


@pytest.mark.parametrize(("column", "values"), [("sarcopenia", ["1", None, "0"]), ("sex", ["M", None, "F"])])
def test_a_patient_has_one_label_and_one_sex(column, values):
    cases = pd.DataFrame({"case_id": ["a", "b", "c"], "patient_id": ["p", "p", "p"], column: values})
    sentence = rf"cases a \({values[0]}\) and c \({values[2]}\) of patient p differ in {column}; correct one"
    with pytest.raises(ValueError, match=sentence):
        refuse_contradictions(cases)
    refuse_contradictions(cases.assign(patient_id=["p", "p", "q"]))
    refuse_contradictions(cases.iloc[:2])
