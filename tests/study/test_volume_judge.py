"""What a network of volumes says of the scored slices, by networks that find what is bright."""

import json
from dataclasses import dataclass, field
from types import SimpleNamespace

import jax
import numpy as np
import pandas as pd
import pytest

from mskjax.data import npy_files
from mskjax.data.dataset import read_dataset, stack
from mskjax.data.splits import digest
from mskjax.data.volume_folder import on_grid, read_volumes, write_volumes
from mskjax.data.volume_grid import lay
from mskjax.study.mask_judge import PREDICTIONS, read_masks
from mskjax.study.summary import EDITION
from mskjax.study.volume_judge import SCORED, VolumeJudge, read_scores, volume_judge
from mskjax.training.predict_volumes import VolumePredictor

# Rows and columns are those of the new grid, so that a slice on one of its planes comes back as it is.
SHAPE, OWN_MM, NEW_MM = (6, 14, 11), (5.0, 1.5, 2.0), (2.0, 1.5, 2.0)
SCORED_SLICE = 3
CELL = SimpleNamespace(validation_cases=("C2",), test_cases=("C0", "C1"))
CONFIG = {"cell": {"validation_cases": ["C2"], "test_cases": ["C0", "C1"]}}


def scan(number):
    """A body in air with muscle in one corner of every slice, one row more of it on each higher slice."""
    image_hu = np.full(SHAPE, -1000, np.int16)
    image_hu[:, 1:, :9] = -80
    for place in range(SHAPE[0]):
        image_hu[place, 2 : 4 + place, 1 : 4 + number] = 60
    return image_hu


def drawn(number):
    """The outline of case 1 has the upper half of its muscle, those of the others all of it."""
    mask = scan(number)[SCORED_SLICE] > 0
    return (mask & (np.arange(SHAPE[1])[:, None] < (4 if number == 1 else SHAPE[1]))).astype(np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, rows = tmp_path_factory.mktemp("volumes"), []
    for number in range(3):
        grid = lay(SHAPE, OWN_MM, NEW_MM[::-1], SCORED_SLICE)
        volume, box = on_grid(scan(number), grid)
        row = {"case_id": f"C{number}", "file": f"f{number}", "through": SCORED_SLICE, "planes": "", "label_sha256": ""}
        row |= dict(zip(("slices", "rows", "columns", "slice_mm", "row_mm", "column_mm"), SHAPE + OWN_MM, strict=True))
        row |= {f"first_{name}": own.start for name, own in zip(("slice", "row", "column"), box, strict=True)}
        row |= dict(zip("ijk", volume.shape, strict=True))
        row["scan_sha256"] = digest(scan(number))
        row["volume_sha256"] = npy_files.save(folder / f"volumes/f{number}.npy", volume)
        rows.append(row)
    table = pd.DataFrame(rows).astype({"through": "Int64"})
    cases = pd.DataFrame({"case_id": table["case_id"], "patient_id": list("pqr"), "image": "ct", "mask": "m"})
    cases = cases.assign(slice_index=SCORED_SLICE, source_index=SCORED_SLICE, split="train")
    images = [scan(number)[SCORED_SLICE] for number in range(3)]
    slices = stack(images, [drawn(number) for number in range(3)], [OWN_MM[1:]] * 3, list(table["case_id"]))
    write_volumes(folder, table, cases, {"spacing_mm": list(NEW_MM)}, slices)
    return folder


@dataclass(frozen=True)
class Bright(VolumePredictor):
    """Finds what is above 0 HU on the planes that are needed, and remembers which these were."""

    muscle: float = 0.9
    asked: list = field(default_factory=list)

    def on_grid(self, image_hu, needed=None):
        self.asked.append(needed)
        found = np.zeros(image_hu.shape, np.float32)
        found[..., needed] = np.where(image_hu[..., needed] > 0, self.muscle, 0.1)
        return found


def bright(**options):
    return Bright(jax.numpy.zeros_like, {}, 8, NEW_MM, **options)


def judge_by(folder, network):
    return VolumeJudge(read_dataset(folder), read_volumes(folder), lambda variables: network)


def test_masks_are_those_of_the_scored_slice_on_its_own_grid(folder):
    network = bright()
    expert = judge_by(folder, network)
    for number in range(3):
        np.testing.assert_array_equal(expert.mask(network, number), scan(number)[SCORED_SLICE] > 0)
    # The slice is 15 mm above the first, planes lie 2 mm apart from 1 mm on: the eighth is on it.
    assert network.asked == [slice(7, 8)] * 3


def test_the_cells_own_cases_are_judged(folder, tmp_path):
    judge_by(folder, bright()).judge(tmp_path, {}, CONFIG)
    (tmp_path / "DONE").write_text(json.dumps({"edition": EDITION}))
    scores = read_scores(tmp_path, read_dataset(folder), CELL)
    assert tuple(scores.columns) == SCORED
    assert list(zip(scores["case_id"], scores["part"], strict=True)) == [
        ("C2", "validation"),
        ("C0", "test"),
        ("C1", "test"),
    ]
    # Of case 1 two of five rows are outlined: 2 x 2 / (5 + 2). A pixel has 3 mm2; rows x columns of muscle.
    assert scores["dice"].tolist() == pytest.approx([1, 1, 4 / 7])
    assert scores["sma_cm2"].tolist() == pytest.approx([5 * 5 * 0.03, 5 * 3 * 0.03, 5 * 4 * 0.03])
    assert scores["reference_sma_cm2"].tolist() == pytest.approx([5 * 5 * 0.03, 5 * 3 * 0.03, 2 * 4 * 0.03])
    assert scores["smd_hu"].tolist() == [60, 60, 60]
    masks = read_masks(tmp_path / PREDICTIONS)
    assert list(masks) == ["C2", "C0", "C1"]
    np.testing.assert_array_equal(masks["C1"], scan(1)[SCORED_SLICE] > 0)


def test_scores_of_a_former_edition_are_made_from_the_masks(folder, tmp_path):
    judge_by(folder, bright()).judge(tmp_path, {}, CONFIG)
    (tmp_path / "DONE").write_text(json.dumps({"edition": EDITION}))
    own, data = read_scores(tmp_path, read_dataset(folder), CELL), read_dataset(folder)
    (tmp_path / "DONE").write_text(json.dumps({"edition": EDITION - 1}))
    (tmp_path / "scores.csv").write_text("of before\n")
    pd.testing.assert_frame_equal(read_scores(tmp_path, data, CELL), own, check_dtype=False)
    (tmp_path / "DONE").write_text(json.dumps({"edition": EDITION}))
    with pytest.raises(ValueError, match=r"scores.csv is not whole; delete .* and train the cell again"):
        read_scores(tmp_path, data, CELL)


def test_scores_of_other_cases_are_refused(folder, tmp_path):
    judge_by(folder, bright()).judge(tmp_path, {}, CONFIG)
    (tmp_path / "DONE").write_text(json.dumps({"edition": EDITION}))
    other = SimpleNamespace(validation_cases=("C2",), test_cases=("C1", "C0"))
    with pytest.raises(ValueError, match=r"scores.csv is of other cases than its cell's; delete"):
        read_scores(tmp_path, read_dataset(folder), other)


def test_weights_that_predict_no_numbers_are_said(folder, tmp_path):
    with pytest.raises(ValueError, match="predict values that are no numbers; train with a lower learning rate"):
        judge_by(folder, bright(muscle=np.nan)).judge(tmp_path, {}, CONFIG)
    assert not (tmp_path / "scores.csv").exists()


def test_one_compilation_for_all_weights_and_scans(folder):
    """By windows of 8 voxels of a network that finds what is above its own level."""
    traced = []

    class Task:
        def predict(self, params, model_state, image_hu):
            traced.append(image_hu.shape)
            return jax.numpy.where(image_hu > params["level"], 0.9, 0.1)

    config = {"image_size": 8, "spacing_mm": list(NEW_MM), "overlap": 0.5}
    expert = volume_judge(read_dataset(folder), read_volumes(folder), Task(), config)
    for level, expected in ((0, scan(0)[SCORED_SLICE] > 0), (-100, scan(0)[SCORED_SLICE] > -100)):
        mask = expert.mask(expert.predictor({"params": {"level": np.float32(level)}}), 0)
        np.testing.assert_array_equal(mask, expected)
    assert traced == [(1, 8, 8, 8)]
