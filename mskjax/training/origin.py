"""What a run says of itself: where its network comes from and which dataset it has learned from.

Runs without the files that say so, or with a dataset that is gone, are described as far as they go.
"""

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mskjax.files import read_json, sha256

# As mskjax.data.phantom_scans names them, under whatever folder.
_PHANTOM = re.compile(r"(?:^|[/\\])phantoms[/\\]images[/\\]phantom_\d{4,}\.nii\.gz$")

_PRETRAINING = "self_distillation"
_DIGITS = 12  # of a digest, as many as are read at a glance


def provenance_of(run: str | Path) -> dict[str, Any]:
    """What the run was made from, or nothing where it does not say."""
    return _json(Path(run) / "provenance.json")


def describe(run: str | Path) -> dict[str, Any]:
    """The run's folder name, weights' digest, dataset's path and digests, and `init`; None for what is not known.

    `init` is "random", or the file of pretrained weights with the first digits of its digest, or another run's
    checkpoint.
    """
    run = Path(run)
    weights = run / "best" / "variables.safetensors"
    return {
        "folder": run.resolve().name,
        "weights_sha256": sha256(weights) if weights.is_file() else None,
        "dataset": provenance_of(run).get("dataset"),
        "init": _start(run),
        "learned_from_phantoms_only": learned_from_phantoms(run),
    }


def _start(run: Path) -> str | None:
    """What the run, or the cell of a study, was begun with; None where it does not say."""
    config, weights = _json(run / "config.json"), provenance_of(run).get("weights")
    if weights:
        return f"{weights['path']} (sha256 {weights['sha256'][:_DIGITS]})"
    if config.get("resume"):
        return f"checkpoint of {config['resume']}"
    return None if "init_from" not in config else config["init_from"] or "random"


def refuse_pretraining(run: str | Path, purpose: str) -> None:
    """Raises `ValueError` for a run that has learned without masks and labels, which leaves nothing to `purpose`."""
    if (_json(Path(run) / "config.json").get("task") or {}).get("name") == _PRETRAINING:
        raise ValueError(
            f"{run} is a pretraining, a run of the task {_PRETRAINING}, and there is nothing to {purpose} in it; train "
            f"on from its weights with python -m launch.train --config=configs/smit_segmentation.py "
            f"--config.init_from={run} on scans with masks, and give that run to launch.evaluate or launch.measure"
        )


def dataset_sha256(run: str | Path) -> dict[str, str] | None:
    """The digests of the dataset that the run was trained on; None where it does not say."""
    return (provenance_of(run).get("dataset") or {}).get("sha256")


def of_dataset(path: str, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What provenance.json says of the dataset: it may be gone when that is asked for."""
    told = {"path": path, "sha256": manifest["sha256"], "counts": manifest.get("counts")}
    return {**told, "phantoms_only": _holds_phantoms(told)}


def learned_from_phantoms(run: str | Path) -> bool | None:
    """Whether all cases of the run's dataset are phantoms; None where neither the run nor that dataset says so."""
    dataset = provenance_of(run).get("dataset") or {}
    recorded = dataset.get("phantoms_only")
    return _holds_phantoms(dataset) if dataset and recorded is None else recorded


def _holds_phantoms(dataset: Mapping[str, Any]) -> bool | None:
    cases = Path(dataset["path"]) / "cases.csv"
    if not cases.is_file() or sha256(cases) != dataset["sha256"].get("cases.csv"):
        return None
    with cases.open(newline="", encoding="utf-8") as file:
        return are_phantoms(row.get("image") or "" for row in csv.DictReader(file))


def are_phantoms(images: Iterable[str]) -> bool:
    """Whether all paths of a dataset's column `image`, of which there is one at least, are of drawn phantoms."""
    found = [bool(_PHANTOM.search(image)) for image in images]
    return bool(found) and all(found)


def _json(path: Path) -> dict[str, Any]:
    return read_json(path) if path.is_file() else {}
