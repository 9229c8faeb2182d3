"""Which slices an export is verified on."""

import json

import numpy as np
from exported_runs import GRIDS, write_slices

from mskjax.data.dataset import read_dataset
from mskjax.export import sample
from mskjax.files import read_json


def test_slices_are_cut_or_padded_around_their_middle(tmp_path):
    made = sample.make((40, 30), read_dataset(write_slices(tmp_path / "dataset")), of_phantoms=False)
    assert made.image_hu.shape == (4, 40, 30)
    assert made.drawn == (True, False, False, False)
    images = [read_dataset(tmp_path / "dataset").slices.case(i)[0] for i in (1, 2, 3)]
    np.testing.assert_array_equal(made.image_hu[1], np.pad(images[0][3:43], [(0, 0), (0, 0)])[:, 2:32])  # 47 x 35
    np.testing.assert_array_equal(made.image_hu[2, 5:34, :29], images[1])  # 29 x 29
    assert (made.image_hu[2, :5] == -1024).all() and (made.image_hu[2, 34:] == -1024).all()
    np.testing.assert_array_equal(made.spacing_mm[1:], np.float32([spacing for _, spacing in GRIDS[1:]]))


def test_the_drawn_slice_can_always_be_measured():
    made = sample.make((1500, 32), None, of_phantoms=False)
    assert made.image_hu.shape == (1, 1500, 32)
    assert (made.spacing_mm >= 0.25).all()


def test_a_dataset_that_is_gone_or_has_changed_is_not_taken(tmp_path, caplog):
    folder = write_slices(tmp_path / "dataset")
    provenance = {"dataset": {"path": str(folder), "sha256": read_json(folder / "dataset.json")["sha256"]}}
    assert sample.dataset_of(provenance) is not None
    assert sample.dataset_of({}) is None
    assert sample.dataset_of({"dataset": {**provenance["dataset"], "path": str(tmp_path / "gone")}}) is None
    assert sample.dataset_of({"dataset": {**provenance["dataset"], "sha256": {"slices.npz": "0"}}}) is None
    (folder / "slices.npz").write_bytes(b"cut short")
    assert sample.dataset_of(provenance) is None
    assert "the dataset cannot be compared on: " in caplog.text
    write_slices(folder)
    manifest = read_json(folder / "dataset.json")
    (folder / "dataset.json").write_text(json.dumps({**manifest, "values": "grey"}))
    assert sample.dataset_of(provenance) is None, "grey levels are no HU"
