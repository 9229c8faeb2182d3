import numpy as np
import pandas as pd
import pytest

from mskjax.study.case_scores import (
    COLUMNS,
    OBSERVERS,
    checked,
    in_order,
    of_networks,
    of_readers,
    read_cases,
    write_cases,
)

NETWORK = {
    "init": "random",
    "n": 5,
    "fold": 0,
    "draw": 1,
    "seed": 1,
    "case_id": "007",
    "reader": "",
    "dice": 0.1 + 0.2,
    "rms_dta_cm": np.inf,
    "sma_cm2": 0.0,
    "smd_hu": np.nan,
    "reference_sma_cm2": 100 / 3,
    "reference_smd_hu": -7.25,
}
READER = NETWORK | {"init": OBSERVERS, "reader": "NA", "n": None, "fold": None, "draw": None, "seed": None}


@pytest.fixture
def written(tmp_path):
    write_cases(tmp_path / "cases.csv", pd.DataFrame([NETWORK, READER]))
    return tmp_path / "cases.csv"


def test_columns_are_those_that_others_rely_on():
    assert ",".join(COLUMNS) == (
        "init,n,fold,draw,seed,case_id,reader,dice,rms_dta_cm,sma_cm2,smd_hu,reference_sma_cm2,reference_smd_hu"
    )


def test_numbers_and_words_come_back_as_they_were(written):
    cases = read_cases(written)
    assert list(cases.columns) == list(COLUMNS)
    assert cases["case_id"].tolist() == ["007", "007"], "a name of digits is no number"
    assert cases["reader"].tolist() == ["", "NA"], "a reader called NA is a reader"
    assert cases["dice"][0] == NETWORK["dice"], "to the last bit"
    assert cases["rms_dta_cm"].tolist() == [np.inf, np.inf]
    assert cases["smd_hu"].isna().all()
    assert cases["n"].tolist() == [5, pd.NA]
    assert cases["seed"].dtype == "Int64"


def test_file_has_inf_for_far_and_nothing_for_no_density(written):
    assert written.read_text().splitlines()[1:] == [
        "random,5,0,1,1,007,,0.30000000000000004,inf,0.0,,33.333333333333336,-7.25",
        "observers,,,,,007,NA,0.30000000000000004,inf,0.0,,33.333333333333336,-7.25",
    ]


def test_blanks_around_fields_and_the_mark_of_spreadsheets_are_no_part_of_a_name(written):
    text = written.read_text().replace("random,", "random ,").replace(",NA,", ", NA,")
    written.write_bytes(b"\xef\xbb\xbf" + text.encode())
    cases = read_cases(written)
    assert cases["init"].tolist() == ["random", OBSERVERS]
    assert cases["reader"].tolist() == ["", "NA"]


def test_networks_and_readers_are_told_apart(written):
    cases = read_cases(written)
    assert of_networks(cases)["init"].tolist() == ["random"]
    assert of_readers(cases)["init"].tolist() == [OBSERVERS]


def test_initialisations_come_in_the_order_of_the_paper_and_others_after():
    assert in_order(["zoo", "jigsaw", "atlas", "random", "jigsaw"]) == ["random", "jigsaw", "atlas", "zoo"]


def test_columns_may_stand_in_any_order(written):
    cases = read_cases(written)
    pd.testing.assert_frame_equal(checked(cases[list(reversed(COLUMNS))], "x"), cases)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"dice": "0,9"}, "line 3: dice is '0,9', no number"),
        ({"dice": 1.5}, "line 3: dice is not from 0 to 1"),
        ({"dice": None}, "line 3: dice is not from 0 to 1"),
        ({"rms_dta_cm": None}, "line 3: rms_dta_cm is empty or negative"),
        ({"rms_dta_cm": -0.1}, "line 3: rms_dta_cm is empty or negative"),
        ({"sma_cm2": np.inf}, "line 3: sma_cm2 is no finite area"),
        ({"sma_cm2": None}, "line 3: sma_cm2 is no finite area"),
        ({"smd_hu": np.inf}, "line 3: smd_hu is infinite"),
        ({"case_id": ""}, "line 3: init and case_id must both be filled"),
        ({"reader": "A"}, "line 3: readers have the init 'observers' and a name in reader, networks neither"),
        ({"init": OBSERVERS}, "line 3: readers have the init 'observers'"),
        ({"init": OBSERVERS, "reader": "A"}, "line 3: n, fold, draw and seed must be empty where init is observers"),
        ({"n": None}, "line 3: n, fold, draw and seed of a network must be whole numbers"),
        ({"n": 0}, "line 3: n, fold, draw and seed of a network must be whole numbers"),
        ({"fold": 0.5}, "line 3: n, fold, draw and seed of a network must be whole numbers"),
        ({"case_id": "007"}, "line 3: this prediction or outline stands there twice"),
        ({"case_id": "007", "seed": 0, "reference_sma_cm2": 34}, "line 3: reference_sma_cm2 is another than"),
        ({"case_id": "007", "seed": 0, "reference_smd_hu": None}, "line 3: reference_smd_hu is another than"),
    ],
)
def test_a_bad_row_is_named_with_its_line_and_the_remedy(tmp_path, change, sentence):
    rows = pd.DataFrame([NETWORK, NETWORK | {"case_id": "008"} | change])[list(COLUMNS)]
    path = tmp_path / "cases.csv"
    rows.to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"cases\.csv, line 3: .*; score the study again") as caught:
        read_cases(path)
    assert sentence in str(caught.value)
    with pytest.raises(ValueError, match="line 3"):
        write_cases(path, rows)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty"),
        (",".join(COLUMNS) + "\n", "holds no scores"),
        (",".join(COLUMNS[1:]) + "\n5\n", "line 2: not 12 fields"),
        (",".join(COLUMNS[1:]) + "\n" + "5," * 11 + "5\n", "lacks the column init"),
        (",".join(COLUMNS) + ",split\n" + "5," * 13 + "5\n", "has 'split'"),
        (",".join(COLUMNS) + ",dice\n" + "5," * 13 + "5\n", "has 'a column twice'"),
        ("\0", "lacks the column case_id"),
    ],
)
def test_a_bad_file_is_named(tmp_path, text, sentence):
    path = tmp_path / "cases.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"launch\.evaluate|columns are to be") as caught:
        read_cases(path)
    assert f"{path}" in str(caught.value)
    assert sentence in str(caught.value)


def test_a_missing_file_and_one_that_is_no_text(tmp_path):
    with pytest.raises(OSError, match="cannot be read"):
        read_cases(tmp_path / "none.csv")
    (tmp_path / "picture.csv").write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(ValueError, match="no CSV in UTF-8"):
        read_cases(tmp_path / "picture.csv")


def test_nothing_is_written_when_a_row_is_bad(written):
    before = written.read_bytes()
    with pytest.raises(ValueError, match="dice"):
        write_cases(written, pd.DataFrame([NETWORK | {"dice": 2.0}]))
    assert written.read_bytes() == before
