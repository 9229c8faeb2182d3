import fnmatch
import tomllib
from pathlib import Path

import pytest

from mskjax.measure import cutoffs
from mskjax.measure.cutoffs import Cutoff, body_mass_index, decide, read

ROOT = Path(__file__).resolve().parents[2]
# As printed, of men and of women: study B; Derstine 2018; Prado 2008; van der Werf 2018.
PRINTED = {
    ("freeman", "sma", "cm2"): (144, 92),
    ("derstine2018", "sma", "cm2"): (144.3, 92.2),
    ("derstine2018", "smi", "cm2/m2"): (45.4, 34.4),
    ("derstine2018", "smd", "HU"): (38.5, 34.3),
    ("prado2008", "smi", "cm2/m2"): (52.4, 38.5),
    ("vanderwerf2018", "sma", "cm2"): (134.0, 89.2),
    ("vanderwerf2018", "smi", "cm2/m2"): (41.6, 32.0),
    ("vanderwerf2018", "smd", "HU"): (29.3, 22.0),
}
# Martin 2013, of a BMI of 18.5, 24.99, 25 and 40.
MARTIN = {
    ("smi", "M"): (43, 43, 53, 53),
    ("smi", "F"): (41, 41, 41, 41),
    ("smd", "M"): (41, 41, 33, 33),
    ("smd", "F"): (41, 41, 33, 33),
}


def cut(key, measure, sex, bmi):
    found = [c for c in read() if (c.key, c.measure, c.sex) == (key, measure, sex) and c.is_of(bmi)]
    return [(c.below, c.units) for c in found]


@pytest.mark.parametrize(("key", "measure", "units"), PRINTED)
@pytest.mark.parametrize("bmi", [None, 18.5, 25.0])
def test_cutoffs_are_those_printed(key, measure, units, bmi):
    for sex, below in zip("MF", PRINTED[key, measure, units], strict=True):
        assert cut(key, measure, sex, bmi) == [(below, units)]


@pytest.mark.parametrize(("measure", "sex"), MARTIN)
def test_martins_cutoffs_hang_on_the_bmi(measure, sex):
    units = {"smi": "cm2/m2", "smd": "HU"}[measure]
    for bmi, below in zip((18.5, 24.99, 25.0, 40.0), MARTIN[measure, sex], strict=True):
        assert cut("martin2013", measure, sex, bmi) == [(below, units)]
    assert cut("martin2013", measure, sex, None) == ([(41, units)] if (measure, sex) == ("smi", "F") else [])


def test_there_are_no_others_and_each_says_whose_it_is():
    assert {(c.key, c.measure) for c in read()} == {key[:2] for key in PRINTED} | {
        ("martin2013", "smi"),
        ("martin2013", "smd"),
    }
    assert len(read()) == 2 * len(PRINTED) + 3 + 4
    assert read()[0].key == cutoffs.DEFAULT == "freeman"
    assert all(c.population and c.source for c in read())


def decided(sex="M", **changed):
    known = {"sma_cm2": 140.0, "smi_cm2_m2": 45.0, "smd_hu": 38.5, "bmi": 26.0}
    rows = decide(read(), sex, **(known | changed))
    assert all(tuple(row) == cutoffs.COLUMNS for row in rows)
    return {(row["set"], row["measure"]): row for row in rows}


def test_all_sets_stand_side_by_side_with_their_margins():
    rows = decided()
    assert next(iter(rows)) == ("freeman", "sma")
    margins = {name: row["margin"] for name, row in rows.items()}
    assert margins == pytest.approx(
        {
            ("freeman", "sma"): -4,
            ("derstine2018", "sma"): -4.3,
            ("derstine2018", "smi"): -0.4,
            ("derstine2018", "smd"): 0,
            ("prado2008", "smi"): -7.4,
            ("martin2013", "smi"): -8,
            ("martin2013", "smd"): 5.5,
            ("vanderwerf2018", "sma"): 6,
            ("vanderwerf2018", "smi"): 3.4,
            ("vanderwerf2018", "smd"): 9.2,
        }
    )
    assert all(row["below"] is (row["margin"] < 0) and row["why"] == "" for row in rows.values())
    assert rows["derstine2018", "smd"]["below"] is False, "at the cut-off is not below it"
    assert decided("F")["freeman", "sma"]["margin"] == 48


@pytest.mark.parametrize(
    ("known", "name", "why"),
    [
        ({"sex": None}, ("freeman", "sma"), "the sex is not known"),
        ({"smi_cm2_m2": None}, ("prado2008", "smi"), "the height is not known"),
        ({"smi_cm2_m2": float("nan"), "sex": None}, ("prado2008", "smi"), "the height is not known and the sex is not"),
        ({"bmi": None}, ("martin2013", "smi"), "the BMI is not known"),
        ({"bmi": None, "smi_cm2_m2": None}, ("martin2013", "smi"), "the height is not known and the BMI is not known"),
        ({"smd_hu": float("nan")}, ("martin2013", "smd"), "the density is not known"),
        ({"sma_cm2": 0.0, "smi_cm2_m2": 0.0}, ("freeman", "sma"), "the slice holds no muscle"),
        ({"sma_cm2": 0.0, "smi_cm2_m2": 0.0}, ("prado2008", "smi"), "the slice holds no muscle"),
    ],
)
def test_nothing_is_decided_where_something_is_not_known(known, name, why):
    row = decided(**known)[name]
    assert (row["margin"], row["below"]) == (None, None)
    assert row["why"].startswith(why)


def test_what_is_known_is_decided():
    assert decided(bmi=None, smi_cm2_m2=None)["freeman", "sma"]["below"] is True
    assert decided("F", bmi=None)["martin2013", "smi"]["margin"] == 4


def test_another_sex_is_refused():
    with pytest.raises(ValueError, match="sex is 'male'; give M or F"):
        decide(read(), "male", 100.0)


def test_body_mass_index():
    assert body_mass_index(70, 1.72) == pytest.approx(70 / 1.72**2)
    assert body_mass_index(81, 1.8) == 25, "and not a rounding error below, where other cut-offs are"
    assert body_mass_index(80.999, 1.8) < 25
    for weight_kg, height_m, sentence in (
        (70_000, 1.8, "70000 kg is not a person's; give it in kilograms"),
        (float("nan"), 1.8, "nan kg is not a person's"),
        (70, 172, "in metres"),
        (7, 1.8, "BMI of 2.2, which is not a person's; give the weight in kilograms and the height in metres"),
    ):
        with pytest.raises(ValueError, match=sentence):
            body_mass_index(weight_kg, height_m)


def test_a_cutoff_of_some_bmi_is_of_nobody_whose_bmi_is_not_known():
    assert not Cutoff("key", "smi", "M", 43, "cm2/m2", "", "", bmi_below=25).is_of(None)


def test_files_that_are_no_modules_are_installed_with_the_package():
    """Wheels hold of other files only those that pyproject.toml names."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = settings["package-data"]["mskjax"]
    others = [p for p in (ROOT / "mskjax").rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")]
    assert any(p.name == "cutoffs.json" for p in others)
    for path in others:
        assert any(fnmatch.fnmatch(str(path.relative_to(ROOT / "mskjax")), pattern) for pattern in patterns), path
