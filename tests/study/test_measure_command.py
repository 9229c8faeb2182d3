"""The command launch.measure."""

import json
import subprocess
import sys

import pytest
from scans import AREA, muscle, write_nifti


def launch(*arguments):
    command = [sys.executable, "-m", "launch.measure", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_command_prints_a_table_and_refuses_in_one_sentence(nifti, mask, tmp_path):
    done = launch(f"--image={nifti}", f"--mask={mask}", f"--output={tmp_path / 'out'}", "--label=1", "--remove_bone")
    assert done.returncode == 0, done.stderr
    assert "cut out of SMA and SMD" in done.stdout
    refused = launch(f"--image={nifti}", f"--mask={mask}", f"--output={tmp_path / 'no'}", "--slice=99")
    assert refused.returncode == 2
    assert refused.stderr.startswith("error: slice 99 is not in the scan")
    assert not (tmp_path / "no").exists()


def test_measuring_a_given_mask_needs_no_jax(nifti, mask, tmp_path):
    program = (
        "import sys; from mskjax.study.scan import measure_scan; from mskjax.study.scan_folder import table;"
        f"table(measure_scan({str(nifti)!r}, {str(tmp_path / 'out')!r}, mask={str(mask)!r}));"
        "assert not {'jax', 'pandas', 'matplotlib'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("flag", "cut_out"), [("--remove_bone=true", True), ("--noremove_bone", False), ("--remove_bone=false", False)]
)
def test_bone_is_cut_out_or_left_as_the_flag_says(nifti, mask, tmp_path, flag, cut_out):
    done = launch(f"--image={nifti}", f"--mask={mask}", f"--output={tmp_path / 'out'}", flag)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "out" / "measurements.json").read_text())["bone"]["cut_out"] is cut_out


def test_an_output_that_is_a_file_is_refused(nifti, mask):
    refused = launch(f"--image={nifti}", f"--mask={mask}", f"--output={nifti}")
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: {nifti} is a file") and "name another folder" in refused.stderr


def test_labels_may_be_repeated_or_separated_by_commas(nifti, tmp_path):
    drawn = muscle()
    drawn[3], drawn[4] = drawn[3] * 86, drawn[4] * 87
    labels = write_nifti(tmp_path / "labels.nii.gz", drawn)
    found = {}
    for name, asked in {"twice": ["--label=86", "--label=87"], "commas": ["--label=86,87"]}.items():
        done = launch(f"--image={nifti}", f"--mask={labels}", f"--output={tmp_path / name}", "--slice=2:5", *asked)
        assert done.returncode == 0, done.stderr
        found[name] = json.loads((tmp_path / name / "measurements.json").read_text())
        assert [row["sma_cm2"] for row in found[name]["slices"]] == [0, AREA, AREA]
        assert found[name]["asked"] == {"label": ["86", "87"], "slices": "2:5"}


def test_cutoffs_decide_on_the_level_that_is_named(nifti, mask, tmp_path):
    about = ["--level=2", "--sex=f", "--height_m=1.7", "--weight_kg=70"]
    done = launch(f"--image={nifti}", f"--mask={mask}", f"--output={tmp_path / 'out'}", *about)
    assert done.returncode == 0, done.stderr
    assert "woman, BMI 24.2" in done.stdout
    told = json.loads((tmp_path / "out" / "measurements.json").read_text())
    assert len(told["slices"]) == 6
    told = told["decisions"]
    assert (told["level"], told["sex"], told["height_m"], told["weight_kg"]) == (2, "F", 1.7, 70)
    assert (
        (tmp_path / "out" / "decisions.csv")
        .read_text()
        .startswith("slice_index,set,measure,units,value,cutoff,margin,")
    )
    refused = launch(f"--image={nifti}", f"--mask={mask}", f"--output={tmp_path / 'no'}", "--sex=x")
    assert refused.returncode == 2
    assert "sex" in refused.stderr and not (tmp_path / "no").exists()
