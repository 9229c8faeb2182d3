"""What is said of the slice that was named as L3, and that nothing is said of others."""

import csv
import json

import numpy as np
import pytest
from scans import AREA, FAT, write_nifti

from mskjax.study.scan import measure_scan
from mskjax.study.scan_folder import table

HEIGHT_M = 0.4  # the scan's muscle is small: 2.4 cm2, an index of 15 and a mean of 20 HU


def read_decisions(folder):
    with (folder / "decisions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def described(folder):
    return json.loads((folder / "measurements.json").read_text())["decisions"]


def decided(nifti, mask, folder, **options):
    return measure_scan(nifti, folder / "out", mask=mask, **options)


def test_a_slice_measured_alone_is_decided_on_by_every_set(nifti, mask, tmp_path):
    result = decided(nifti, mask, tmp_path, slices="2", sex="F", height_m=HEIGHT_M, weight_kg=4.0)
    rows = read_decisions(tmp_path / "out")
    assert list(rows[0])[:5] == ["slice_index", "set", "measure", "units", "value"]
    found = {(row["set"], row["measure"]): row for row in rows}
    assert rows[0]["set"] == "freeman"
    assert len(found) == 10
    assert {row["slice_index"] for row in rows} == {"2"}
    freeman = found["freeman", "sma"]
    assert float(freeman["value"]) == pytest.approx(AREA)
    assert (freeman["cutoff"], freeman["below"], freeman["why"]) == ("92", "1", "")
    assert float(freeman["margin"]) == pytest.approx(AREA - 92)
    # A BMI of 4 / 0.16 = 25: the cut-off of density is 33 HU, and the mean is 20.
    martin = found["martin2013", "smd"]
    assert (martin["cutoff"], martin["below"]) == ("33", "1")
    assert float(martin["margin"]) == pytest.approx(20 - 33)
    assert float(found["prado2008", "smi"]["value"]) == pytest.approx(AREA / 0.16)
    assert all(row["population"] and row["source"] for row in rows)
    told = described(tmp_path / "out")
    assert (told["level"], told["sex"], told["weight_kg"], told["default"]) == (2, "F", 4.0, "freeman")
    assert told["bmi"] == pytest.approx(25)
    assert [row["set"] for row in told["by_set"]] == [row["set"] for row in rows]
    assert told["by_set"][0]["below"] is True
    lines = table(result).splitlines()
    assert any("woman, BMI 25.0" in line and "if slice 2 is L3" in line for line in lines)
    first = next(line for line in lines if line.startswith("freeman"))
    assert first.split() == ["freeman", "SMA", "cm2", "2.40", "92.00", "-89.60", "below"]
    assert lines.index(first) < lines.index(next(line for line in lines if line.startswith("derstine2018")))


def test_what_is_measured_is_what_is_decided_on(nifti, mask, tmp_path):
    """After the HU window: without its fat."""
    decided(nifti, mask, tmp_path, slices="2", sex="M", hu_window="-29:150")
    rows = {(row["set"], row["measure"]): row for row in read_decisions(tmp_path / "out")}
    assert float(rows["freeman", "sma"]["value"]) == pytest.approx(AREA - FAT)
    assert rows["freeman", "sma"]["cutoff"] == "144"


def test_of_many_slices_none_is_decided_on_unless_named(nifti, mask, tmp_path):
    result = decided(nifti, mask, tmp_path, sex="M")
    assert (result.level, result.decisions, read_decisions(tmp_path / "out")) == (None, [], [])
    assert described(tmp_path / "out")["by_set"] == []
    assert "name the one at L3 with --level" in table(result)
    named = decided(nifti, mask, tmp_path, sex="M", level=3)
    assert len(named.rows) == 6
    assert {row["slice_index"] for row in read_decisions(tmp_path / "out")} == {"3"}
    assert named.decisions[0]["value"] == pytest.approx(named.rows[3]["sma_cm2"])
    within = decided(nifti, mask, tmp_path, sex="M", level=3, slices="2:5")
    assert within.decisions[0]["value"] == pytest.approx(within.rows[1]["sma_cm2"])


def test_a_scan_that_says_nothing_of_l3_is_left_in_peace(nifti, mask, tmp_path):
    assert "L3" not in table(decided(nifti, mask, tmp_path))


def test_without_a_sex_nothing_is_decided_and_a_line_says_so(nifti, mask, tmp_path):
    result = decided(nifti, mask, tmp_path, slices="2")
    rows = read_decisions(tmp_path / "out")
    assert {row["below"] for row in rows} == {""}
    assert rows[0]["why"] == "the sex is not known"
    assert "with --sex, published cut-offs decide on slice 2" in table(result)


def test_a_slice_without_muscle_is_not_called_sarcopenic(nifti, mask, tmp_path):
    result = decided(nifti, mask, tmp_path, slices="0", sex="M")
    assert {row["below"] for row in read_decisions(tmp_path / "out")} == {""}
    assert "not decided: the slice holds no muscle" in table(result)


def test_what_is_lacking_is_said_in_the_table(nifti, mask, tmp_path):
    lines = table(decided(nifti, mask, tmp_path, slices="2", sex="M")).splitlines()
    prado = next(line for line in lines if line.startswith("prado2008"))
    assert prado.split(maxsplit=6) == [
        "prado2008",
        "SMI",
        "cm2/m2",
        "-",
        "52.40",
        "-",
        "not decided: the height is not known",
    ]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"level": 6}, "level 6 is not among the slices 0 to 5 that are measured; name one of these with --level$"),
        ({"level": -1}, "level -1 is not among the slices"),
        ({"level": 2, "slices": "3:5"}, "slices 3 to 4 that .* of these with --level, or measure it with --slice$"),
        ({"sex": "X"}, "sex is 'X'; give M or F"),
        ({"weight_kg": 70.0}, "a weight of 70 kg gives a BMI only with a height"),
        ({"weight_kg": 70_000.0, "height_m": 1.7}, "70000 kg is not a person's"),
        ({"weight_kg": 7.0, "height_m": 1.7}, "a BMI of 2.4, which is not a person's"),
    ],
)
def test_nonsense_is_refused_before_anything_is_written(nifti, mask, tmp_path, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        decided(nifti, mask, tmp_path, **options)
    assert not (tmp_path / "out").exists()


def test_the_volume_is_told_of_many_slices(nifti, mask, tmp_path):
    """Slices of 5 mm: an area in cm2 is half as many cm3."""
    result = decided(nifti, mask, tmp_path)
    assert f"volume of these 6 slices: {3 * AREA / 2:.1f} cm3" in table(result)
    assert "volume" not in table(decided(nifti, mask, tmp_path, slices="2"))
    empty = write_nifti(tmp_path / "empty.nii.gz", np.zeros((6, 40, 30), np.uint8))
    assert decided(nifti, empty, tmp_path).volume_cm3 == 0


def test_a_level_that_is_not_there_is_refused_before_anything_is_predicted(nifti, tmp_path):
    with pytest.raises(ValueError, match="level 7 is not among"):
        measure_scan(nifti, tmp_path / "out", run="run", predictor=lambda *_: pytest.fail("predicted"), level=7)
