"""The command launch.prepare."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from absl import flags
from dicom_files import body_hu, write_series
from pair_files import mask_on, write_image
from picture_files import cohort_of_bitmaps

from mskjax.data.dataset import read_dataset
from mskjax.data.volume_folder import read_volumes

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def launch_prepare():
    """Runs the launcher's main with flags and returns its exit status."""
    from launch import prepare as launcher

    def start(**values) -> int:
        flags.FLAGS.unparse_flags()
        flags.FLAGS(["prepare", *(f"--{name}={value}" for name, value in values.items())])
        return launcher.main()

    yield start
    flags.FLAGS.unparse_flags()


def test_the_launcher_reports_failures(cohort, launch_prepare, caplog):
    (cohort / "muscle/case2.nii.gz").unlink()
    said = {"images": cohort / "ct", "masks": cohort / "muscle", "output": cohort / "out"}
    assert launch_prepare(**said, validation_fraction=0, test_fraction=0, slices="largest") == 1
    assert "case2.nii.gz: has no mask of the same name" in caplog.text
    assert list(read_dataset(cohort / "out").cases["slice_index"]) == [2, 2]


def test_the_launcher_helps():
    said = subprocess.run([sys.executable, "-m", "launch.prepare", "--help"], capture_output=True, text=True, cwd=ROOT)
    assert said.returncode == 0
    assert "--level_label" in said.stdout and "python -m launch.prepare --images" in said.stdout


def test_the_launcher_refuses_half_a_request(tmp_path):
    command = [sys.executable, "-m", "launch.prepare", f"--images={tmp_path}", f"--output={tmp_path / 'out'}"]
    said = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ)
    assert said.returncode == 2
    assert "error: give --images and --masks" in said.stderr
    assert not (tmp_path / "out").exists()


def test_the_launcher_joins_labels(cohort, launch_prepare):
    labelled = mask_on(1, 2)
    labelled[2] *= 2
    write_image(cohort / "muscle/case0.nii.gz", labelled)
    said = {"images": cohort / "ct/case0.nii.gz", "masks": cohort / "muscle/case0.nii.gz", "output": cohort / "out"}
    assert launch_prepare(**said, validation_fraction=0, test_fraction=0, label="1,2") == 0
    assert list(read_dataset(cohort / "out").cases["slice_index"]) == [1, 2]


@pytest.mark.parametrize("name", ["images", "masks", "cases", "labels", "slices", "label", "level_mask", "level_label"])
def test_the_launcher_refuses_phantoms_with_images(launch_prepare, tmp_path, name):
    with pytest.raises(ValueError, match=f"leave out --{name}, or --phantom"):
        launch_prepare(phantom=2, output=tmp_path / "out", **{name: "1"})
    assert not (tmp_path / "out").exists()


def test_the_launcher_refuses_an_output_that_is_a_file(cohort, launch_prepare):
    said = {"images": cohort / "ct", "masks": cohort / "muscle", "output": cohort / "ct/case0.nii.gz/out"}
    with pytest.raises(OSError, match=r"case0\.nii\.gz is a file.*name another folder"):
        launch_prepare(**said)
    with pytest.raises(OSError, match="name another folder"):
        launch_prepare(phantom=2, output=cohort / "ct/case0.nii.gz")


def test_the_launcher_keeps_a_dataset_from_elsewhere(cohort, launch_prepare):
    first = {"images": cohort / "ct", "masks": cohort / "muscle", "output": cohort / "out"}
    assert launch_prepare(**first, validation_fraction=0, test_fraction=0) == 0
    (cohort / "list.csv").write_text("image,mask\nct/case0.nii.gz,muscle/case0.nii.gz\n")
    with pytest.raises(
        ValueError, match=r"made from --images=\S+ --masks=\S+, and --cases=\S+list\.csv would replace it"
    ):
        launch_prepare(cases=cohort / "list.csv", output=cohort / "out")
    assert len(read_dataset(cohort / "out").slices) == 6
    with pytest.raises(ValueError, match=r"fraction 0\.7 and test fraction 0\.7"):
        launch_prepare(phantom=2, validation_fraction=0.7, test_fraction=0.7, output=cohort / "new")
    assert not (cohort / "new").exists()


def test_the_launcher_takes_bitmaps_and_labels(tmp_path, launch_prepare):
    cohort_of_bitmaps(tmp_path)
    (tmp_path / "labels.csv").write_text("case,sarcopenia\np0,1\np1,0\np2,0\n")
    said = {"images": tmp_path / "slices", "masks": tmp_path / "outlined", "output": tmp_path / "out"}
    assert launch_prepare(**said, labels=tmp_path / "labels.csv", validation_fraction=0, test_fraction=0) == 0
    made = read_dataset(tmp_path / "out")
    assert made.values == "grey" and made.cases["sarcopenia"].tolist() == [1, 0, 0]
    with pytest.raises(ValueError, match=r"made from .*--labels=\S+, and --images=\S+ --masks=\S+ would replace it"):
        launch_prepare(**said, validation_fraction=0, test_fraction=0)
    bare = {"images": tmp_path / "slices", "output": tmp_path / "bare", "labels": tmp_path / "labels.csv"}
    assert launch_prepare(**bare, validation_fraction=0, test_fraction=0) == 0
    assert not read_dataset(tmp_path / "bare").slices.mask.any()


def test_the_launcher_makes_volumes(cohort, launch_prepare, caplog):
    write_image(cohort / "ct/flat.nii.gz", body_hu(1))
    said = {"images": cohort / "ct", "output": cohort / "out", "validation_fraction": 0, "test_fraction": 0}
    assert launch_prepare(**said, spacing_mm="1,1.5,2.5", foreground="false") == 1
    assert "flat.nii.gz: is one slice, and no volume; of a DICOM series" in caplog.text
    volumes = read_volumes(cohort / "out")
    assert len(volumes) == 3 and volumes.spacing_mm == (1.0, 1.5, 2.5)
    assert volumes.shape(0) == (10, 12, 7), "air and all"
    (cohort / "ct/flat.nii.gz").unlink()
    masks = {"masks": cohort / "muscle", "slices": "2"}
    with pytest.raises(ValueError, match=r"and --images=.* --masks=.* would replace it"):
        launch_prepare(**said, **masks, spacing_mm="1,1.5,2.5")
    assert launch_prepare(**said | masks | {"output": cohort / "masked"}, spacing_mm="1,1.5,2.5") == 0
    assert read_volumes(cohort / "masked").cases["slice_index"].tolist() == [2, 2, 2]
    with pytest.raises(ValueError, match=r"tells of volumes .*=1,1.5,2.5\), and slices .* would replace them"):
        launch_prepare(**said | masks | {"output": cohort / "masked"})


def test_the_launcher_makes_a_volume_of_a_series(tmp_path, launch_prepare):
    write_series(tmp_path / "ct", body_hu(4))
    said = {"images": tmp_path / "ct", "output": tmp_path / "out", "spacing_mm": "1,1,5"}
    assert launch_prepare(**said, validation_fraction=0, test_fraction=0) == 0
    assert read_volumes(tmp_path / "out").table["slices"].tolist() == [4]


def test_the_launcher_refuses_too_few_patients_before_any_work(cohort, launch_prepare):
    one = {"images": cohort / "ct/case0.nii.gz", "masks": cohort / "muscle/case0.nii.gz"}
    for said, who in ((one, "1 patient"), ({"phantom": 2}, "2 patients")):
        with pytest.raises(ValueError, match=f"^{who} cannot be 1 to test.* --validation_fraction or --test_fraction"):
            launch_prepare(**said, output=cohort / "out")
        assert not (cohort / "out").exists()
