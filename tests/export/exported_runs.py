"""Run folders as training leaves them, of small networks that were never trained, and a dataset beside them."""

import json

import jax
import numpy as np
import pandas as pd
from flax.traverse_util import flatten_dict, unflatten_dict

from configs.segmentation import get_config
from mskjax import convert, models, tasks
from mskjax.data.dataset import stack, write_dataset
from mskjax.files import read_json, write_json
from mskjax.training.start import BEST

GRIDS = (((33, 41), (2.0, 1.5)), ((47, 35), (1.0, 2.5)), ((29, 29), (2.0, 2.0)), ((40, 40), (1.3, 1.3)))
SHAPE = {"height": 40, "width": 48}  # of the slices that the exported program takes
VERSIONS = {"mskjax": "0.1.0", "jax": "0.10.2"}


def write_slices(folder, image="ct.nii.gz"):
    """Four slices of noise around muscle, of which the last three are for testing."""
    rng, names = np.random.default_rng(0), [f"p{i}" for i in range(len(GRIDS))]
    masks = [np.pad(np.ones((9, 11), np.uint8), [(5, h - 14), (6, w - 17)]) for (h, w), _ in GRIDS]
    images = [np.rint(np.where(mask, 60, -100) + rng.normal(0, 30, mask.shape)).astype(np.int16) for mask in masks]
    split = ["train", "test", "test", "test"]
    cases = {"case_id": names, "patient_id": names, "image": image, "mask": "m", "slice_index": 0, "source_index": 0}
    slices = stack(images, masks, [spacing for _, spacing in GRIDS], names)
    write_dataset(folder, slices, pd.DataFrame({**cases, "split": split}), {"made_by": "a test"})
    return folder


def write_run(folder, dataset=None, weights=None, **config):
    """A finished run of the smoke config with other fields in `config`; `weights` is what it was begun with."""
    config = {**json.loads(get_config("init=random,smoke").to_json()), "dataset": str(dataset or "gone"), **config}
    digests = read_json(dataset / "dataset.json")["sha256"] if dataset else {"slices.npz": "0" * 64}
    start = {"time_utc": "2026-01-02T03:04:05+00:00", "step": 0, "versions": VERSIONS, "git_revision": "abc123"}
    about = {"dataset": {"path": str(dataset or "gone"), "sha256": digests}, "weights": weights, "starts": [start]}
    write_json(folder / "config.json", config)
    write_json(folder / "provenance.json", about)
    write_json(folder / "DONE", {"step": 8, "best_step": 4, "best_validation_loss": 0.25})
    rows = [{"step": step, "validation_dice": step / 10} for step in (4, 8)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    convert.save_variables(folder / BEST, uneven(tasks.build_module(config["task"]["model"])), {})
    return folder


def uneven(module):
    """Variables without round numbers that give logits of some units; variances and BatchNorm's scales are positive."""
    rng = np.random.default_rng(1)
    leaves = flatten_dict(models.abstract(module), sep="/")
    made = {}
    for name, leaf in leaves.items():
        drawn = rng.normal(0, 1, leaf.shape)
        if name.endswith(("/var", "/scale")):
            drawn = 0.5 + np.abs(drawn)
        elif name.endswith("kernel"):
            drawn *= (0.02 if "logits" in name else 1) / np.sqrt(np.prod(leaf.shape[:-1]))
        made[name] = drawn.astype(np.float32)
    return jax.tree.map(np.asarray, unflatten_dict(made, sep="/"))
