"""Finished cases put together in a dataset folder: its tables, its slices or volumes, and what no longer belongs to it.

Cases are slices (`cases.Case`) or volumes (`volume_cases.VolumeCase`), never both in one dataset.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256 as hash_of
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from absl import logging

from mskjax.data import splits, volume_cases
from mskjax.data.cases import Case
from mskjax.data.dataset import SPLITS, Slices, stack, write_dataset
from mskjax.data.manifest import is_of_volumes, read_manifest
from mskjax.data.pairs import Pair
from mskjax.data.volume_cases import VolumeCase, VolumeOptions
from mskjax.data.volume_folder import write_volumes
from mskjax.files import remove, sha256

# The names that `prepare` gives to files, and the hidden ones that they have while they are being written.
_OWN = r"\.?([0-9a-f]{16})\.(npy|npz|json)(\..*)?$"
Cases = Mapping[int, Case] | Mapping[int, VolumeCase]


def table(pairs: Sequence[Pair], good: Cases, split: list[str]) -> pd.DataFrame:
    """cases.csv: a row for each slice, or for each volume; `good` is by place in `pairs`, `split` has one for each."""
    rows = []
    for i, case in good.items():
        pair = pairs[i]
        said = {**case.about, **pair.about, "image": str(pair.image), "mask": str(pair.mask or ""), "split": split[i]}
        said["patient_id"] = pair.patient_id or case.about["patient_id"]
        numbered = isinstance(case, Case) and (len(case.slice_index) > 1 or not pair.case_id)
        for k, source in zip(case.slice_index, case.source_index, strict=True):
            case_id = (pair.case_id or case.about["case_id"]) + (f"_s{k:03d}" if numbered else "")
            rows.append({**said, "case_id": case_id, "slice_index": k, "source_index": source})
    return pd.DataFrame(rows)


def refuse_twins(good: Cases, cases: pd.DataFrame) -> None:
    """Raises `ValueError` where one scan or slice lies in two splits under two patient ids; `cases` is cases.csv.

    Scans without masks are told by all of their slices, as no single one is of meaning.
    """
    whole = all("scan" in case.digests for case in good.values())
    for what in ("scan",) * whole + ("slice",) * (not whole or _any_mask(cases)):
        splits.refuse_twins([own for case in good.values() for own in case.digests[what]], cases, what)


def write(output: Path, good: Cases, cases: pd.DataFrame, manifest: dict[str, Any]) -> None:
    """Writes the dataset of all cases, unless it lies there already, and logs what it holds; `cases` is cases.csv."""
    made_by = manifest["made_by"] | {"table_sha256": hash_of(cases.to_csv(index=False).encode()).hexdigest()}
    if _is_current(output, made_by):
        return
    manifest, ids = {**manifest, "made_by": made_by}, list(cases["case_id"])
    volumes = {i: case for i, case in good.items() if isinstance(case, VolumeCase)}
    slices = {i: case for i, case in good.items() if isinstance(case, Case)}
    if volumes:
        rows = pd.DataFrame([{"case_id": ids[n], **case.row} for n, case in enumerate(volumes.values())])
        if _any_mask(cases):
            slices = {i: volume_cases.scored_slice(output, case) for i, case in volumes.items()}
        write_volumes(output, rows, cases, manifest, _slices(slices, ids) if slices else None)
    else:
        write_dataset(output, _slices(slices, ids), cases, manifest)
    counts = Counter(cases["split"])
    told = ", ".join(f"{counts[name]} {name}" for name in SPLITS if counts[name])
    parts = f"{splits.counted(len(cases), 'slice')} of " * (not volumes)
    noun = "volume" if volumes else "case"
    logging.info("%s: %s (%s)%s", output, parts + splits.counted(len(good), noun), told, _remarks(cases))


def made_by(options: Mapping[str, Any], volumes: VolumeOptions | None, prints: list[str]) -> dict[str, Any]:
    """What dataset.json says of a dataset's making; `inputs` stands for all files read."""
    inputs = hash_of(json.dumps(prints).encode()).hexdigest()
    program = {"program": "mskjax.prepare", "version": version("mskjax")}
    own = {} if volumes is None else {"spacing_mm": list(volumes.spacing_mm), "foreground": volumes.foreground}
    return program | {"options": {**options, **own}, "inputs": inputs}


def forget(output: Path, prints: set[str]) -> None:
    """Removes what the dataset in `output` does not name: former cases, and what a killed process left half-written."""
    for folder in ("prepared", "volumes", "labels"):
        for path in (output / folder).glob("*"):
            if (own := re.match(_OWN, path.name)) and (own[1] not in prints or path.name.startswith(".")):
                remove(path)
    belongs = read_manifest(output)["sha256"]
    for name in ("slices.npz", "volumes.csv"):
        if name not in belongs:
            remove(output / name)


def _any_mask(cases: pd.DataFrame) -> bool:
    return bool((cases["mask"] != "").any())


def _remarks(cases: pd.DataFrame) -> str:
    """How many cases are sarcopenic and not, and how many have no mask, where there are such."""
    labels = list(cases["sarcopenia"]) if "sarcopenia" in cases else []
    said = f"; {labels.count('1')} sarcopenic, {labels.count('0')} not" * ("1" in labels or "0" in labels)
    without = list(cases["mask"]).count("")
    return said + f"; {without} without a mask" * (without > 0)


def _slices(good: Mapping[int, Case], case_id: list[str]) -> Slices:
    images = [image for case in good.values() for image in case.image_hu]
    masks = [mask for case in good.values() for mask in case.mask]
    spacing_mm = np.concatenate([np.tile(case.spacing_mm, (len(case.mask), 1)) for case in good.values()])
    return stack(images, masks, spacing_mm, case_id)


def _is_current(output: Path, made_by: dict[str, Any]) -> bool:
    """Whether the folder already holds, unharmed, the dataset that `made_by` would make."""
    if not (output / "dataset.json").is_file():
        return False
    manifest = read_manifest(output)
    if manifest.get("made_by") != made_by:
        return False
    current = all(
        (output / name).is_file() and sha256(output / name) == was for name, was in manifest["sha256"].items()
    )
    if current:
        noun = "volume" if is_of_volumes(manifest) else "slice"
        logging.info(
            "%s is up to date: %s", output, splits.counted(sum(manifest["counts"][name] for name in SPLITS), noun)
        )
    return current
