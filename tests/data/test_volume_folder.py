"""The folder of volumes: what is written comes back, where it belongs, and what is not whole is refused."""

import json

import numpy as np
import pandas as pd
import pytest

from mskjax.data import npy_files, volumes_csv
from mskjax.data.dataset import read_dataset, stack
from mskjax.data.ras import ras_to_axial
from mskjax.data.splits import digest
from mskjax.data.volume_folder import body_box, on_grid, read_volumes, write_volumes
from mskjax.data.volume_grid import lay, restore
from mskjax.data.volumes_csv import parse_planes, write_planes

SHAPE, OWN_MM, NEW_MM = (6, 5, 4), (5.0, 1.25, 1.0), (1.5, 1.5, 2.0)


def scan(seed=0):
    """A body of noise around 40 HU on rows 1 to 4 and columns 0 to 2 of slices 1 to 5, in air."""
    image_hu = np.full(SHAPE, -1000, np.int16)
    image_hu[1:, 1:, :3] = np.random.default_rng(seed).integers(0, 80, (5, 4, 3))
    return image_hu


def write(folder, masked=(True, False)):
    """Two scans, of which some carry a mask of one pixel on slice 3."""
    rows, slices = [], []
    for n, drawn in enumerate(masked):
        image_hu, through = scan(n), 3 if drawn else None
        grid = lay(SHAPE, OWN_MM, NEW_MM[::-1], through)
        volume, box = on_grid(image_hu, grid)
        row = {"case_id": f"C{n}", "file": f"f{n}", "through": through, "planes": "", "label_sha256": ""}
        row |= dict(zip(("slices", "rows", "columns", "slice_mm", "row_mm", "column_mm"), SHAPE + OWN_MM, strict=True))
        row |= {f"first_{name}": b.start for name, b in zip(("slice", "row", "column"), box, strict=True)}
        row |= dict(zip("ijk", volume.shape, strict=True))
        row["scan_sha256"] = digest(image_hu)
        row["volume_sha256"] = npy_files.save(folder / f"volumes/f{n}.npy", volume)
        if drawn:
            label = np.zeros((1, *volume.shape[:2]), np.uint8)
            label[0, 0, 0] = 1
            row |= {"planes": str(grid.drawn - box[0].start)}
            row["label_sha256"] = npy_files.save(folder / f"labels/f{n}.npy", label)
        rows.append(row)
        slices.append(image_hu[3])
    table = pd.DataFrame(rows).astype({"through": "Int64"})
    cases = pd.DataFrame({"case_id": table["case_id"], "patient_id": ["p", "q"], "image": "a", "slice_index": 3})
    cases = cases.assign(source_index=3, split=["train", "test"], mask=["m" if drawn else "" for drawn in masked])
    stacked = stack(slices, [np.zeros(SHAPE[1:])] * 2, [OWN_MM[1:]] * 2, list(table["case_id"]))
    write_volumes(folder, table, cases, {"spacing_mm": list(NEW_MM)}, stacked if any(masked) else None)
    return folder


def test_what_is_written_comes_back(tmp_path):
    volumes = read_volumes(write(tmp_path))
    assert len(volumes) == 2 and volumes.spacing_mm == NEW_MM
    assert volumes.labelled.tolist() == [True, False]
    assert volumes.rows("train").tolist() == [0] and volumes.rows("test").tolist() == [1]
    for row in range(2):
        expected, box = on_grid(scan(row), volumes.grid(row))
        np.testing.assert_array_equal(volumes.image(row), expected)
        assert volumes.image(row).dtype == np.int16 and not volumes.image(row).flags.writeable
        assert volumes.box(row) == box and volumes.shape(row) == expected.shape
    planes, label = volumes.label(0)
    # The plane through slice 3 holds that slice's own values.
    assert planes.dtype == np.int32 and label.shape == (1, *volumes.shape(0)[:2]) and label.sum() == 1
    assert volumes.grid(0).positions[0][planes[0] + volumes.box(0)[0].start] == 3
    planes, label = volumes.label(1)
    assert len(planes) == 0 and label.shape == (0, *volumes.shape(1)[:2])
    with pytest.raises(ValueError, match="split 'all' is none of"):
        volumes.rows("all")


def test_axes_are_those_of_ras(tmp_path):
    """To the right, to the front and upwards: from the axial view's last column, last row and first slice."""
    ramp = (np.arange(6)[:, None, None] * 100 + np.arange(5)[:, None] * 10 + np.arange(4)).astype(np.int16)
    volume, _ = on_grid(ramp, lay(SHAPE, (1.0, 1.0, 1.0), (1.0, 1.0, 1.0)))
    assert volume.shape == (4, 5, 6)
    assert volume[0, 0, 0] == 43 and volume[1, 0, 0] == 42 and volume[0, 1, 0] == 33 and volume[0, 0, 1] == 143


def test_what_is_linear_comes_back_from_a_box_of_all():
    ramp = (np.arange(6)[:, None, None] * 50 + np.arange(5)[:, None] * 20 - np.arange(4) * 10).astype(np.int16)
    grid = lay(SHAPE, (5.0, 1.0, 1.0), (1.0, 0.5, 0.5), 2)
    volume, box = on_grid(ramp, grid, foreground=False)
    assert tuple(part.stop - part.start for part in box) == grid.new_shape
    np.testing.assert_allclose(restore(ras_to_axial(volume).astype(np.float32), grid), ramp, atol=1e-3)


def test_the_body_is_what_the_window_leaves():
    image_hu = np.full((4, 5, 6), -175, np.int16)
    image_hu[1, 2, 3] = image_hu[2, 4, 3] = -174
    assert body_box(image_hu) == (slice(1, 3), slice(2, 5), slice(3, 4))
    with pytest.raises(ValueError, match="no voxel is above -175 HU; the scan holds air alone"):
        body_box(np.full((2, 2, 2), -175, np.int16))


def test_without_masks_there_are_no_slices(tmp_path):
    folder = write(tmp_path / "bare", (False, False))
    manifest = json.loads((folder / "dataset.json").read_text())
    assert sorted(manifest["sha256"]) == ["cases.csv", "volumes.csv"]
    assert manifest["counts"] == {"volumes": 2, "patients": 2, "train": 1, "validation": 0, "test": 1}
    with pytest.raises(ValueError, match="bare holds volumes without masks, for pretraining; give one prepared with"):
        read_dataset(folder)
    assert not read_volumes(folder).labelled.any()


def test_with_masks_it_is_a_dataset_of_slices_too(tmp_path):
    dataset = read_dataset(write(tmp_path))
    np.testing.assert_array_equal(dataset.slices.image_hu, [scan(0)[3], scan(1)[3]])
    assert sorted(dataset.manifest["sha256"]) == ["cases.csv", "slices.npz", "volumes.csv"]
    assert dataset.manifest["spacing_mm"] == list(NEW_MM)


@pytest.mark.parametrize(
    ("name", "harm", "message"),
    [
        ("volumes/f1.npy", lambda path: path.unlink(), r"f1\.npy is missing"),
        ("labels/f0.npy", lambda path: path.unlink(), r"labels/f0\.npy is missing"),
        ("volumes/f1.npy", lambda path: path.write_bytes(path.read_bytes()[:-1]), r"f1\.npy has \d+ bytes, not \d+"),
        ("volumes.csv", lambda path: path.write_text(path.read_text() + "\n"), r"volumes\.csv is cut short or altered"),
        ("cases.csv", lambda path: path.write_text(""), r"cases\.csv is cut short or altered"),
        ("dataset.json", lambda path: path.unlink(), "holds no finished dataset"),
        ("dataset.json", lambda path: path.write_text('{"format": 1}'), "holds slices, not volumes; prepare its scans"),
    ],
)
def test_what_is_not_whole_is_refused(tmp_path, name, harm, message):
    harm(write(tmp_path) / name)
    with pytest.raises((ValueError, OSError), match=message):
        read_volumes(tmp_path)


def test_a_table_of_other_columns_is_made_anew(tmp_path):
    """As one of before a column was added."""
    table = pd.read_csv(write(tmp_path) / "volumes.csv").drop(columns="scan_sha256")
    table.to_csv(tmp_path / "volumes.csv", index=False)
    with pytest.raises(ValueError, match=r"volumes\.csv has columns .*; run launch.prepare again"):
        volumes_csv.read(tmp_path)


def test_an_array_of_another_kind_is_refused_when_it_is_read(tmp_path):
    volumes = read_volumes(write(tmp_path))
    path = tmp_path / "volumes/f1.npy"
    size = path.stat().st_size
    np.save(path, np.zeros((size - 128) // 2, np.uint16))
    assert path.stat().st_size == size
    with pytest.raises(ValueError, match=r"holds uint16 \(\d+,\), not int16"):
        volumes.image(1)
    path.write_bytes(b"no" * (size // 2))
    with pytest.raises(ValueError, match="is no array"):
        volumes.image(1)


@pytest.mark.parametrize(("text", "planes"), [("", []), ("41", [41]), ("3-5,9,11-12", [3, 4, 5, 9, 11, 12])])
def test_planes_are_told_as_runs(text, planes):
    assert parse_planes(text).tolist() == planes
    assert write_planes(np.array(planes, int)) == text


def test_planes_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="planes '3-', which are not as in 41"):
        parse_planes("3-")
