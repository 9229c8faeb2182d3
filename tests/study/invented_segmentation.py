"""A study of muscle masks in whole scans whose masks are given by a function; nothing was trained.

Its dataset is that of `invented_sarcopenia`: the reference is a square of 6 + i % 8 pixels of 1 cm a side, patients are
men and women in turn. A mask of `narrower` columns less has the Dice 2 (a - d) / (2 a - d) and the area difference
-100 d / a %, for a side of a pixels and d columns.
"""

import json
from pathlib import Path

import numpy as np
from invented_sarcopenia import SIDE

from configs.sarcopenia_segmentation import get_config
from mskjax.data.dataset import read_dataset
from mskjax.study.mask_judge import PREDICTIONS, score_masks, write_masks
from mskjax.study.sarcopenia_segmentation import plan, run_config
from mskjax.study.settings import plain
from mskjax.study.summary import EDITION
from mskjax.study.volume_judge import SCORED


def invent_study(workdir: Path, dataset: Path, narrower, **fields) -> Path:
    """A study folder all of whose cells are done; `narrower(cell, part, case_id)` tells by how many columns, or None.

    None is an empty mask.
    """
    chosen = get_config("smoke,init=both").unlock()
    chosen.update({"dataset": str(dataset), "validation_fractions": (0.2, 0.2), "test_fractions": (0.3, 0.3)})
    chosen.starts.smit.init_from = ""
    chosen.update(fields)
    study, data = plain(chosen), read_dataset(dataset)
    origin = {"dataset": {"path": str(dataset), "sha256": data.manifest["sha256"]}, "weights": None, "starts": []}
    _write(workdir, study, origin)
    places = {str(case_id): row for row, case_id in enumerate(data.slices.case_id)}
    for cell in plan(data.cases, study):
        folder = workdir / "cells" / cell.name
        _write(folder, run_config(study, cell), origin)
        judged = [(part, case) for part in ("validation", "test") for case in getattr(cell, f"{part}_cases")]
        slices = data.slices.select([places[case] for _, case in judged])
        masks = [_narrowed(slices.mask[i], narrower(cell, *own)) for i, own in enumerate(judged)]
        write_masks(folder / PREDICTIONS, slices, masks)
        scores = score_masks(slices, masks).assign(part=[part for part, _ in judged])
        scores.reindex(columns=list(SCORED)).to_csv(folder / "scores.csv", index=False)
        (folder / "DONE").write_text(json.dumps({"step": 4, "best_step": 2, "edition": EDITION}))
    return workdir


def side_of(case_id: str) -> int:
    """The side of a case's reference square, in pixels of 1 cm."""
    return 6 + int(case_id[1:].partition("_")[0]) % 8


def _narrowed(mask: np.ndarray, columns: int | None) -> np.ndarray:
    if columns is None:
        return np.zeros((SIDE, SIDE), bool)
    own = mask.astype(bool)
    last = int(np.flatnonzero(own.any(axis=0))[-1])
    own[:, last + 1 - columns : last + 1] = False
    return own


def _write(folder: Path, config, origin):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "provenance.json").write_text(json.dumps(origin))
