"""Measuring with an exported program, without the run that it is of."""

import hashlib
import json
import shutil
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scans import SHAPE, SPACING, read_rows, scan_hu, write_nifti

from mskjax.export import artifact, seal, stablehlo
from mskjax.export.program import Program
from mskjax.study.scan import measure_scan


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A program for the scan's slices that takes what is above 0 HU for muscle."""
    file = tmp_path_factory.mktemp("program") / "muscle.stablehlo"
    about = {"folder": "run 7", "learned_from_phantoms_only": True}
    stablehlo.write(file, Program(lambda squares: squares / 10, 40), SHAPE[1:], about)
    return file


def host(image_hu, spacing_mm):
    """What the program predicts, on the host."""
    from mskjax.data import batches

    squares = [1 / (1 + np.exp(-batches.fit_image(image, spacing_mm, 40) / 10)) for image in image_hu]
    return np.stack([batches.unfit(s.astype(np.float32), image_hu.shape[1:], spacing_mm) for s in squares])


def test_it_measures_what_the_run_would_in_two_dimensions(nifti, program, tmp_path):
    single = write_nifti(tmp_path / "one.nii.gz", scan_hu()[3:4])
    for scan, slices in ((single, None), (nifti, "3")):
        found = measure_scan(scan, tmp_path / "a", artifact=program, slices=slices, height_m=1.7)
        assert found.bone_removal == "2-D"
        expected = measure_scan(single, tmp_path / "b", run="run", predictor=host, height_m=1.7)
        assert expected.bone_removal == "2-D"
        index = found.rows[0]["slice_index"]
        assert found.rows == [{**row, "slice_index": index} for row in expected.rows]
        np.testing.assert_array_equal(found.mask[index], expected.mask[0])
    assert {path.name for path in (tmp_path / "a").iterdir()} == {path.name for path in (tmp_path / "b").iterdir()}
    assert float(read_rows(tmp_path / "a")[0]["sma_cm2"]) == found.rows[0]["sma_cm2"] > 0


def test_its_own_area_is_the_one_that_is_measured(nifti, program, tmp_path):
    found = measure_scan(nifti, tmp_path / "a", artifact=program)
    spacing_mm = np.tile(np.float32(SPACING[1:]), (SHAPE[0], 1))
    outputs = artifact.load(program).run(scan_hu().astype(np.float32), spacing_mm)
    np.testing.assert_array_equal(outputs["mask"], found.mask)
    np.testing.assert_allclose(outputs["area_cm2"], [row["sma_cm2"] for row in found.rows], rtol=1e-6)


def test_what_it_tells_of_its_run_is_passed_on_wherever_it_lies(nifti, program, tmp_path, caplog):
    elsewhere = shutil.copy(program, tmp_path / "renamed.bin")
    measure_scan(nifti, tmp_path / "a", artifact=elsewhere, slices="3")
    described = json.loads((tmp_path / "a" / "measurements.json").read_text())
    assert (described["mask"], described["run"]) == ("predicted", None)
    digest = hashlib.sha256(program.read_bytes()).hexdigest()
    told = {"folder": "run 7", "learned_from_phantoms_only": True, "file": "renamed.bin", "sha256": digest}
    assert described["artifact"] == told
    assert "learned from phantoms only" in caplog.text


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9999])
def test_one_that_was_changed_is_refused(nifti, program, tmp_path, share):
    """Weights that are others would measure something else, and say nothing."""
    content = bytearray(program.read_bytes())
    content[int(share * content.rfind(b'{"mskjax_export"'))] ^= 1
    damaged = tmp_path / "muscle.stablehlo"
    damaged.write_bytes(content)
    with pytest.raises(ValueError, match=r"muscle\.stablehlo is damaged: its bytes are not those .*; export it again"):
        measure_scan(nifti, tmp_path / "out", artifact=damaged)
    assert not (tmp_path / "out").exists()


def test_slices_that_it_is_not_made_for_are_refused(nifti, program, tmp_path):
    smaller = write_nifti(tmp_path / "smaller.nii.gz", scan_hu()[:, :24])
    with pytest.raises(
        ValueError, match=r"of 40x30 pixels and these have 24x30; export .* with --height=24 --width=30"
    ):
        measure_scan(smaller, tmp_path / "out", artifact=program)
    for spacing_mm in ([0.2, 1.0], [1.0, 0.0], [np.nan, 1.0]):
        with pytest.raises(ValueError, match=r"measures pixels of 0\.25 mm and more"):
            artifact.load(program)(scan_hu(), np.array(spacing_mm))
    assert not (tmp_path / "out").exists()


def test_files_that_are_no_programs_are_refused(nifti, program, tmp_path):
    cut_short = tmp_path / "cut.stablehlo"
    cut_short.write_bytes(program.read_bytes()[:5000])
    weights = tmp_path / "muscle.safetensors"
    weights.write_bytes(b"")
    for file, sentence in (
        (tmp_path / "none.stablehlo", "no exported program"),
        (nifti, "is no program of launch.export"),
        (cut_short, r"its end is cut off; export it again"),
        (tmp_path, r"is a folder; name the program in it"),
        (weights, r"holds weights alone; export the run with --format=stablehlo"),
    ):
        with pytest.raises((ValueError, OSError), match=sentence):
            measure_scan(nifti, tmp_path / "out", artifact=file)
    with pytest.raises(ValueError, match="an artifact makes its own"):
        measure_scan(nifti, tmp_path / "out", artifact=program, label=86)
    with pytest.raises(ValueError, match="one of the three"):
        measure_scan(nifti, tmp_path / "out", artifact=program, mask=nifti)


def test_it_needs_neither_config_nor_flax(nifti, program, tmp_path):
    told = (
        "import sys; from mskjax.study.scan import measure_scan; from mskjax.study.scan_folder import table;"
        f"table(measure_scan({str(nifti)!r}, {str(tmp_path / 'out')!r}, artifact={str(program)!r}));"
        "assert 'jax' in sys.modules; assert not {'flax', 'configs', 'optax', 'ml_collections'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def onnx(tmp_path):
    """A sealed file that no program reads."""
    file = tmp_path / "muscle.onnx"
    file.write_bytes(b"a model")
    seal.put(file, {}, as_metadata=True)
    return file


def test_onnx_without_onnxruntime_is_refused_with_the_remedy(nifti, onnx, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r"onnxruntime is not installed here; install it \(pip install onnxruntime\)"):
        measure_scan(nifti, tmp_path / "out", artifact=onnx)


def test_onnx_is_run_only_as_it_was_exported(nifti, onnx, tmp_path, monkeypatch):
    """By a runtime that reads the model that was sealed, and no other."""

    def session(content, providers):
        assert (content, providers) == (b"a model", ["CPUExecutionProvider"])
        raise RuntimeError("a model\nof the test")

    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=session))
    with pytest.raises(ValueError, match=r"of another format than its name says \(a model\); export it again"):
        measure_scan(nifti, tmp_path / "out", artifact=onnx)
    onnx.write_bytes(onnx.read_bytes().replace(b"a model", b"another"))
    with pytest.raises(ValueError, match=r"muscle\.onnx is damaged"):
        measure_scan(nifti, tmp_path / "out", artifact=onnx)
