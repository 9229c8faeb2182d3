"""Runs that have learned volumes: whole scans measured, and the scored slices of a dataset of volumes judged."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from dicom_files import write_series
from scans import PIXEL_CM2, SHAPE, SPACING, scan_hu, write_nifti

from mskjax import convert, models
from mskjax.data import npy_files
from mskjax.data.dataset import AIR_HU, stack, write_dataset
from mskjax.data.splits import digest
from mskjax.data.volume_folder import on_grid, write_volumes
from mskjax.data.volume_grid import lay
from mskjax.study.evaluation import evaluate
from mskjax.study.scan import measure_scan
from mskjax.study.scan_folder import table
from mskjax.training.predict_volumes import VolumePredictor

OWN = (1.0, 2.0, 5.0)  # the scan's own spacing, along i, j, k
SPLITS = ("train", "test", "test")
TINY = {"name": "smit_segmenter", "num_classes": 2, "stage_sizes": [1, 1, 1, 1], "width": 8}


class Toy:
    """Calls muscle what has 0 to 200 HU, and counts its windows."""

    def __init__(self):
        self.windows = 0

    def __call__(self, variables, image_hu):
        self.windows += len(image_hu)
        return jnp.asarray((image_hu > 0) & (image_hu < 200), jnp.float32)


def toy(spacing_mm=OWN, forward=None):
    return VolumePredictor(forward or Toy(), {}, 16, spacing_mm)


def area_cm2(image_hu):
    return np.count_nonzero((image_hu > 0) & (image_hu < 200), (1, 2)) * PIXEL_CM2


def test_a_whole_scan_is_measured_slice_by_slice_at_the_level_and_as_a_volume(nifti, tmp_path):
    result = measure_scan(nifti, tmp_path / "out", run="run", predictor=toy(), level=2, sex="M")
    expected = area_cm2(scan_hu())
    assert [row["sma_with_bone_cm2"] for row in result.rows] == pytest.approx(expected)
    assert result.decisions[0]["margin"] == pytest.approx(expected[2] - 144)
    # Bone and what is 2 mm around it: a pixel up and down and two to each side, one of which no threshold takes.
    expected[3] -= 6 * PIXEL_CM2
    assert result.rows[3]["sma_cm2"] == pytest.approx(expected[3])
    assert result.volume_cm3 == pytest.approx(expected.sum() * SPACING[0] / 10)
    assert json.loads((tmp_path / "out" / "measurements.json").read_text())["mask"] == "predicted"


@pytest.mark.parametrize(
    ("predictor", "slices", "warned"), [("volumes", None, True), ("volumes", "2", False), ("slices", None, False)]
)
def test_what_is_beyond_the_outlined_level_is_called_extrapolated(nifti, tmp_path, predictor, slices, warned):
    """Of a run of volumes, whose outlines may all be at L3, and where more than the level is measured."""
    by = toy() if predictor == "volumes" else lambda image_hu, _: (image_hu > 0).astype(np.float32)
    result = measure_scan(nifti, tmp_path / "out", run="run", predictor=by, slices=slices)
    told = "slices at other levels, and the volume, are extrapolated and not validated"
    assert (told in table(result)) is warned
    assert (told in (json.loads((tmp_path / "out" / "measurements.json").read_text())["caution"] or "")) is warned


def test_a_given_mask_is_no_runs(nifti, mask, tmp_path):
    """Though a predictor is at hand."""
    assert measure_scan(nifti, tmp_path / "out", mask=mask, predictor=toy()).caution is None


@pytest.mark.parametrize("plane_mm", [0.5, 3.0, 8.0])
def test_the_level_is_seen_as_in_evaluation_alone_or_in_the_whole_scan(tmp_path, plane_mm):
    """A plane falls on it, so that a threshold of the volume is one of the slice, which is like none of the others."""
    image, forward = write_nifti(tmp_path / "body.nii.gz", body_hu(1)), Toy()

    def measured(**options):
        options = {"predictor": toy((*OWN[:2], plane_mm), forward), "remove_bone": False, **options}
        return measure_scan(image, tmp_path / "out", run="run", **options)

    whole = measured(level=4)
    windows = forward.windows
    alone = measured(slices="4")
    assert forward.windows - windows <= windows
    np.testing.assert_array_equal(alone.mask, whole.mask * (np.arange(6) == 4)[:, None, None])
    assert alone.rows[0]["sma_cm2"] == whole.rows[4]["sma_cm2"] == pytest.approx(area_cm2(body_hu(1))[4])


def test_scans_that_are_no_straight_stack_are_refused(tmp_path):
    write_series(tmp_path / "tilted", scan_hu(), SPACING, tilt_degrees=10.0)
    with pytest.raises(ValueError, match=r"a run that has learned volumes needs a straight stack.*tilted by 10.0 deg"):
        measure_scan(tmp_path / "tilted", tmp_path / "out", run="run", predictor=toy())
    write_series(tmp_path / "one", scan_hu()[3:4], SPACING)
    with pytest.raises(ValueError, match="the scan is a single slice; give the whole scan"):
        measure_scan(tmp_path / "one", tmp_path / "out", run="run", predictor=toy())
    assert not (tmp_path / "out").exists()


def test_values_that_are_no_numbers_are_refused(nifti, tmp_path):
    broken = toy(forward=lambda variables, image_hu: jnp.full(image_hu.shape, jnp.nan))
    with pytest.raises(ValueError, match="values that are no numbers"):
        measure_scan(nifti, tmp_path / "out", run="run", predictor=broken)


def body_hu(seed):
    """Blocks of 4 pixels and one slice, from -100 to 150 HU, in air."""
    blocks = np.random.default_rng(seed).integers(-100, 150, (6, 8, 6)).astype(np.int16)
    image_hu = np.full(SHAPE, AIR_HU, np.int16)
    image_hu[:, 4:36, 3:27] = blocks.repeat(4, 1).repeat(4, 2)
    return image_hu


def write_scans(folder, spacing_mm):
    """Three scans, of which slice 4 is scored; its muscle is what has 0 to 200 HU."""
    rows, scored = [], []
    for n in range(3):
        image_hu = body_hu(n)
        grid = lay(SHAPE, SPACING, spacing_mm[::-1], 4)
        volume, box = on_grid(image_hu, grid)
        row = {"case_id": f"C{n}", "file": f"f{n}", "through": 4, "planes": str(grid.drawn - box[0].start)}
        row |= dict(zip(("slices", "rows", "columns", "slice_mm", "row_mm", "column_mm"), SHAPE + SPACING, strict=True))
        row |= {f"first_{name}": part.start for name, part in zip(("slice", "row", "column"), box, strict=True)}
        row |= dict(zip("ijk", volume.shape, strict=True))
        row["scan_sha256"] = digest(image_hu)
        row["volume_sha256"] = npy_files.save(folder / f"volumes/f{n}.npy", volume)
        row["label_sha256"] = npy_files.save(folder / f"labels/f{n}.npy", np.ones((1, *volume.shape[:2]), np.uint8))
        rows.append(row)
        scored.append(image_hu[4])
    masks = [((image_hu > 0) & (image_hu < 200)).astype(np.uint8) for image_hu in scored]
    table = pd.DataFrame(rows).astype({"through": "Int64"})
    cases = pd.DataFrame(
        {"case_id": table["case_id"], "patient_id": table["case_id"], "slice_index": 4, "split": SPLITS}
    )
    slices = stack(scored, masks, [SPACING[1:]] * 3, list(table["case_id"]))
    cases = cases.assign(source_index=4, image="", mask="m", sex="")
    write_volumes(folder, table, cases, {"spacing_mm": list(spacing_mm)}, slices)
    return folder


def begin(run, dataset, **more):
    (run / "best").mkdir(parents=True)
    (run / "best" / "variables.safetensors").write_bytes(b"weights")
    (run / "config.json").write_text(json.dumps({"dataset": str(dataset), **more}))
    return run


@pytest.mark.parametrize("plane_mm", [0.5, 2.0, 3.0])
def test_scored_slices_are_judged_where_a_plane_falls_on_them(tmp_path, plane_mm):
    """Pixels are the scan's own and a plane falls on the slice: a threshold of the volume is one of the slice."""
    run = begin(tmp_path / "run", write_scans(tmp_path / "scans", (1.0, 2.0, plane_mm)))
    forward = Toy()
    folder = evaluate(run, predictor=toy((1.0, 2.0, plane_mm), forward))
    cases = pd.read_csv(folder / "cases.csv").set_index("case_id")
    assert cases.index.tolist() == ["C1", "C2"]
    assert cases["dice"].tolist() == [1, 1]
    expected = [area_cm2(body_hu(n))[4] for n in (1, 2)]
    assert cases["sma_cm2"].tolist() == pytest.approx(expected)
    assert cases["slice_index"].tolist() == [4, 4]
    assert (folder / "report.html").is_file()
    assert len(list((folder / "overlays").iterdir())) == 2
    # Windows of 16 over 24 columns and 32 rows, every 8; of 51 planes those that hold plane 40 begin at 32 and 35.
    assert forward.windows == 2 * 2 * 3 * (2 if plane_mm == 0.5 else 1)


def test_a_scan_that_was_altered_is_not_judged(tmp_path):
    run = begin(tmp_path / "run", write_scans(tmp_path / "scans", OWN))
    path = tmp_path / "scans/volumes/f2.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(ValueError, match=r"f2\.npy was altered since it was written; run launch\.prepare again"):
        evaluate(run, predictor=toy())
    assert not (run / "evaluation").exists()


def test_volumes_of_another_spacing_and_slices_are_refused(tmp_path):
    run = begin(tmp_path / "run", write_scans(tmp_path / "scans", (1.0, 2.0, 3.0)))
    with pytest.raises(ValueError, match=r"voxels of \(1.0, 2.0, 3.0\) mm and the run has learned with \(1.5, 1.5, 2"):
        evaluate(run, predictor=toy((1.5, 1.5, 2.0)))
    slices = stack([body_hu(1)[4]], [body_hu(1)[4] > 0], [SPACING[1:]], ["C1"])
    cases = pd.DataFrame({"case_id": ["C1"], "patient_id": ["C1"], "split": ["test"]})
    cases = cases.assign(slice_index=0, source_index=0, image="", mask="m", sex="")
    write_dataset(tmp_path / "slices", slices, cases, {})
    with pytest.raises(ValueError, match="holds slices, not volumes; prepare its scans with --spacing_mm"):
        evaluate(begin(tmp_path / "other", tmp_path / "slices"), predictor=toy())
    assert not (tmp_path / "run" / "evaluation").exists()


def test_a_run_from_its_folder(nifti, tmp_path):
    """With fresh weights: what it predicts means nothing, but it is measured and judged."""
    task = {"name": "volume_segmentation", "model": TINY, "augmentation": {}, "freeze": []}
    fields = {"task": task, "image_size": 32, "spacing_mm": [1.0, 2.0, 5.0], "overlap": 0.5}
    run = begin(tmp_path / "run", write_scans(tmp_path / "scans", OWN), **fields)
    module = models.build(**{**TINY, "stage_sizes": (1, 1, 1, 1)})
    variables = models.init(module, jax.random.key(0), jax.ShapeDtypeStruct((1, 32, 32, 32, 1), np.float32))
    convert.save_variables(run / "best" / "variables.safetensors", variables)
    result = measure_scan(nifti, tmp_path / "out", run=run, level=2, sex="F", height_m=1.7)
    assert len(result.rows) == 6
    assert json.loads((tmp_path / "out" / "measurements.json").read_text())["run"]["folder"] == "run"
    folder = evaluate(run)
    assert pd.read_csv(folder / "cases.csv")["dice"].between(0, 1).all()
