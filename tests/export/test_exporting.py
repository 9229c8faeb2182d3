"""What launch.export leaves, and what it refuses."""

import json
import subprocess
import sys

import numpy as np
import pytest
from exported_runs import SHAPE, write_run, write_slices
from flax.traverse_util import flatten_dict, unflatten_dict

from mskjax import convert, measure
from mskjax.export import artifact, exporting, verification
from mskjax.export import sample as samples
from mskjax.export.exporting import export
from mskjax.files import read_json, sha256, write_json
from mskjax.training.predict import load_run
from mskjax.training.start import BEST


def told_of(file):
    """What the sample beside an export says of it."""
    with np.load(artifact.sample_path(file)) as sample:
        return json.loads(str(sample["about"]))


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_program_comes_with_its_sample_and_card(program):
    file, said = program
    assert files(file.parent) == ["muscle.stablehlo", "muscle.stablehlo.md", "muscle.stablehlo.sample.npz"]
    assert "on 4 slices of 40x48 pixels the logits are within" in said


def test_a_program_tells_of_its_run_itself(program, run):
    file, _ = program
    about = artifact.load(file).about
    assert (about["folder"], about["weights_sha256"]) == ("run", sha256(run / BEST))
    assert (about["learned_from_phantoms_only"], about["descent"]) == (False, [])
    assert (about["file"], about["sha256"]) == ("muscle.stablehlo", sha256(file))


def test_a_program_is_of_any_number_of_slices_and_three_platforms(program):
    from jax import export as jax_export

    file, _ = program
    exported = jax_export.deserialize(bytearray(file.read_bytes()))
    assert [str(aval) for aval in exported.in_avals] == ["float32[b,40,48]", "float32[b,2]"]
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert "optimization_barrier" in exported.mlir_module(), "else kernels are summed at each start"
    assert exported.out_tree.unflatten([str(aval) for aval in exported.out_avals]) == {
        "probability": "float32[b,40,48]",
        "mask": "bool[b,40,48]",
        "area_cm2": "float32[b]",
    }


def test_the_sample_gives_again_what_is_stored_with_it(program):
    file, _ = program
    with np.load(artifact.sample_path(file)) as sample:
        again = artifact.load(file).run(sample["image_hu"].astype(np.float32), sample["spacing_mm"])
        np.testing.assert_allclose(again["probability"], sample["probability"], rtol=0, atol=1e-6)
        np.testing.assert_array_equal(again["mask"], sample["mask"])
        np.testing.assert_allclose(again["area_cm2"], sample["area_cm2"], rtol=1e-6)
        assert sample["logits"].shape == (1, 32, 32)
        assert 0.01 < sample["mask"].mean() < 0.99, "a sample that tells something"


def test_slices_of_patients_are_not_stored(program):
    file, _ = program
    about = told_of(file)
    assert about["verification"]["slices"] == 4
    assert about["verification"]["sample"] == ["drawn phantom", *["test slice of the run's dataset"] * 3]
    with np.load(artifact.sample_path(file)) as sample:
        assert len(sample["image_hu"]) == 1, "the drawn one alone"
    assert "gone" not in json.dumps(about), "no path"


def test_a_program_that_does_not_agree_is_not_kept(program, run, tmp_path, monkeypatch):
    former = tmp_path / "muscle.stablehlo"
    former.write_bytes(b"former")
    artifact.sample_path(former).write_bytes(b"its sample")
    written = []

    def wrong(file, source, sample, known):
        file.write_bytes(b"wrong")
        written.append(file)
        found = verification.reference(source.config, source.variables, sample)
        return {**found, "logits": found["logits"] + 0.5}

    monkeypatch.setattr(exporting, "_stablehlo", wrong)
    with pytest.raises(ValueError, match=r"is not kept: its logits differ from the run's: one of .* by 0\.5, where"):
        export(run, former, "stablehlo", **SHAPE)
    assert written and not written[0].exists()
    assert files(tmp_path) == ["muscle.stablehlo", "muscle.stablehlo.sample.npz"] and former.read_bytes() == b"former"


def halve(run):
    """Moves the run's logits so that half the pixels of a drawn slice are muscle, many of them nearly not."""
    drawn = samples.make((40, 48), None, of_phantoms=False)
    middle = float(np.median(load_run(run)(drawn.image_hu, drawn.spacing_mm[0].astype(float))))
    variables, metadata = convert.load_variables(run / BEST)
    leaves = flatten_dict(variables, sep="/")
    leaves["params/classifier/logits/bias"] -= np.float32(np.log(middle / (1 - middle)))
    convert.save_variables(run / BEST, unflatten_dict(leaves, sep="/"), metadata)


def test_what_launch_measure_rounds_otherwise_is_told(program, tmp_path, monkeypatch):
    own = write_run(tmp_path / "run", write_slices(tmp_path / "dataset"))
    halve(own)
    config = read_json(own / "config.json")
    config["task"]["model"]["dtype"] = "bfloat16"
    write_json(own / "config.json", config)
    exact = {}

    def right(file, source, sample, known):
        file.write_bytes(b"right")
        exact.update(verification.reference(source.config, source.variables, sample), sample=sample)
        return {name: array for name, array in exact.items() if name != "sample"}

    monkeypatch.setattr(exporting, "_stablehlo", right)
    said = export(own, tmp_path / "muscle.stablehlo", "stablehlo", **SHAPE)
    slices, predict = exact["sample"], load_run(own)
    differ, areas_cm2 = 0, []
    for image_hu, spacing, mask in zip(slices.image_hu, slices.spacing_mm.astype(float), exact["mask"], strict=True):
        rounded = measure.remove_bone(image_hu, predict(image_hu[None], spacing)[0] > 0.5, spacing)
        differ += int((rounded != mask).sum())
        areas_cm2.append(abs(int(rounded.sum()) - int(mask.sum())) * spacing.prod() / 100)
    assert differ and f"as launch.measure computes it here, its mask differs in {differ} pixels" in said
    assert f"and its areas by up to {max(areas_cm2):.2g} cm2" in (tmp_path / "muscle.stablehlo.md").read_text()
    assert "run_mask_differs" not in told_of(program[0])["verification"], "float32, as it was learned"


@pytest.mark.parametrize(
    ("name", "format", "sentence"),
    [
        ("muscle.safetensors", "stablehlo", "does not say; name it muscle.stablehlo"),
        ("muscle.stablehlo", "onnx", "does not say; name it muscle.onnx"),
        ("muscle.pb", "tensorflow", "none of safetensors, stablehlo, onnx"),
    ],
)
def test_refused_names(run, tmp_path, name, format, sentence):
    with pytest.raises(ValueError, match=sentence):
        export(run, tmp_path / name, format)
    assert not files(tmp_path)


def test_files_of_others_are_not_replaced(run, tmp_path):
    weights = run / "best" / "variables.safetensors"
    before = weights.read_bytes()
    with pytest.raises(ValueError, match=r"was not made by launch\.export"):
        export(run, weights, "safetensors")
    assert weights.read_bytes() == before
    with pytest.raises(ValueError, match="is a folder"):
        export(run, tmp_path, "safetensors")
    with pytest.raises(NotADirectoryError, match="is to be a folder"):
        export("a run that nobody has looked for yet", weights / "muscle.safetensors", "safetensors")


def test_runs_that_measure_no_slices_are_refused_as_programs(tmp_path):
    task = {"name": "volume_segmentation", "model": {"name": "smit_segmenter"}}
    folder = tmp_path / "run"
    write_run(folder)
    config = read_json(folder / "config.json")
    (folder / "config.json").write_text(json.dumps({**config, "task": task}))
    for format in ("stablehlo", "onnx"):
        with pytest.raises(
            ValueError, match=r"volume_segmentation; --format=safetensors exports weights, of networks that PyTorch has"
        ):
            export(folder, tmp_path / f"muscle.{format}", format)
    assert files(tmp_path) == ["run"]


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is no run"):
        export(tmp_path, tmp_path / "muscle.stablehlo", "stablehlo")
    (tmp_path / "cells").mkdir()
    write_json(tmp_path / "config.json", {"task": {"name": "segmentation"}})
    with pytest.raises(FileNotFoundError, match=r"is a study; name one of the runs in .*cells"):
        export(tmp_path, tmp_path / "muscle.stablehlo", "stablehlo")


def test_a_python_that_is_not_there_is_refused_at_once(run, tmp_path, caplog):
    with pytest.raises(ValueError, match=r"--onnx_python=/nowhere/python is no program; name the Python of: python -m"):
        export(run, tmp_path / "muscle.onnx", "onnx", onnx_python="/nowhere/python")
    assert "is converted" not in caplog.text


def test_a_run_that_knows_phantoms_alone_says_so_and_stores_their_slices(tmp_path):
    dataset = write_slices(tmp_path / "dataset", "phantoms/images/phantom_0001.nii.gz")
    file = tmp_path / "out" / "muscle.safetensors"
    export(write_run(tmp_path / "run", dataset), file, "safetensors")
    assert "It has learned from drawn phantoms only" in (tmp_path / "out" / "muscle.safetensors.md").read_text()
    assert told_of(file)["learned_from_phantoms_only"] is True


def test_the_command_refuses_in_one_sentence(tmp_path):
    command = [
        sys.executable,
        "-m",
        "launch.export",
        f"--run={tmp_path}",
        "--format=onnx",
        f"--output={tmp_path}/a.onnx",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "is no run" in done.stderr and done.stderr.count("\n") == 1
