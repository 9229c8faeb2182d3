"""A classification study whose probabilities are given by a function; nothing was trained."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd

from configs.sarcopenia_classification import get_config
from mskjax.data.dataset import AIR_HU, read_dataset, stack, write_dataset
from mskjax.study import explanation_folder
from mskjax.study.sarcopenia import plan, run_config
from mskjax.study.settings import plain

SIDE = 24


def invent_dataset(folder: Path, negative=20, positive=10, slices=1, **about) -> Path:
    """A dataset of patients n0, n1, ... and s0, s1, ..., whose muscle is a square of 6 + i % 8 pixels of 1 cm."""
    images, masks, rows = [], [], []
    for label, count in ((0, negative), (1, positive)):
        for i in range(count):
            for k in range(slices):
                image, mask = np.full((SIDE, SIDE), AIR_HU, np.int16), np.zeros((SIDE, SIDE), np.uint8)
                image[2:-2, 2:-2] = -80
                mask[6 : 12 + i % 8, 6 : 12 + i % 8] = 1
                image[mask > 0] = 50
                images.append(image)
                masks.append(mask)
                patient = f"{'ns'[label]}{i}"
                case = {"case_id": f"{patient}_{k}", "patient_id": patient, "sarcopenia": label, "sex": "MF"[i % 2]}
                place = {"image": "ct.nii", "mask": "mask.nii", "slice_index": k, "source_index": k, "split": "train"}
                rows.append(case | place | about)
    cases = pd.DataFrame(rows)
    write_dataset(folder, stack(images, masks, [(10.0, 10.0)] * len(rows), cases["case_id"].tolist()), cases, {})
    return folder


def invent_study(workdir: Path, dataset: Path, probability, **fields) -> Path:
    """A study folder all of whose cells are done; `probability(cell, split, case_id, label)` tells each score."""
    chosen = get_config("smoke").unlock()
    chosen.update({"dataset": str(dataset), "bootstrap_samples": 200, "validation_fraction": 0.2, "test_fraction": 0.3})
    chosen.update(fields)
    study, data = plain(chosen), read_dataset(dataset)
    origin = {"dataset": {"path": str(dataset), "sha256": data.manifest["sha256"]}, "weights": None, "starts": []}
    _write(workdir, study, origin)
    label = dict(zip(data.cases["case_id"].astype(str), data.cases["sarcopenia"], strict=True))
    for cell in plan(data.cases, study):
        folder = workdir / "cells" / cell.name
        _write(folder, run_config(study, cell), origin)
        rows = [
            (case, split, int(label[case]), probability(cell, split, case, int(label[case])))
            for split in ("validation", "test")
            for case in getattr(cell, f"{split}_cases")
        ]
        scores = pd.DataFrame(rows, columns=["case_id", "split", "label", "probability"])
        scores.to_csv(folder / "scores.csv", index=False)
        (folder / "DONE").write_text(json.dumps({"step": 4, "best_step": 2}))
    return workdir


def explain_as(cell, weights, methods=("grad_cam", "lime")):
    """The folder in which a cell's tests are explained, by maps of one half of each slice."""
    scores = pd.read_csv(cell / "scores.csv").query("split == 'test'")
    (cell / "best").mkdir(exist_ok=True)
    (cell / "best" / "variables.safetensors").write_bytes(weights)
    decision = (scores["probability"] >= 0.5).astype(int)
    about = pd.DataFrame({"case_id": scores["case_id"], "decision": decision, "explained": decision, "layer": "relu"})
    table = pd.concat([about.assign(method=method) for method in methods])
    half = np.repeat(np.eye(2, dtype=np.float32)[:1], 16, axis=0).repeat(8, axis=1)
    maps = dict.fromkeys(methods, np.stack([half] * len(scores)))
    (cell / "explanations").mkdir(exist_ok=True)
    cases = json.loads((cell / "provenance.json").read_text())["dataset"]["sha256"]
    explanation_folder.write(cell / "explanations", table, [], maps, hashlib.sha256(weights).hexdigest(), cases)
    return cell / "explanations"


def _write(folder: Path, config, origin):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "provenance.json").write_text(json.dumps(origin))
