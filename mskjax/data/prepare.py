"""Makes a dataset folder from images with masks or labels, or from phantoms.

Cases that succeeded are written, and those that failed returned with why. What is done is kept in the folder's
`prepared/` (see `mskjax.data.cases`), so that a command which was stopped goes on where it was.

Ids are the user's or keyed hashes (see `mskjax.data.pseudonyms`); sex, age, height and weight come from DICOM headers
where the user gives none. The columns image and mask repeat the paths that the user gave. A dataset is of CT in HU or
of bitmaps in grey levels, never of both; bitmaps name nobody, so that each is a patient of its own unless the user
says otherwise.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256 as hash_of
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from absl import logging
from tqdm import tqdm

from mskjax.data import case_labels, cases, pseudonyms, sources, splits
from mskjax.data.case_table import read_table
from mskjax.data.cases import Case
from mskjax.data.dataset import SPLITS, Slices, stack, write_dataset
from mskjax.data.pairs import Pair, match, values_of
from mskjax.data.phantom_scans import write_readers, write_scans
from mskjax.files import read_json, remove, require_folder, sha256


@dataclass(frozen=True)
class Shares:
    """How many of the patients validate and test, as fractions, and the seed that draws them."""

    validation_fraction: float = 0.2
    test_fraction: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        splits.check_fractions(self.validation_fraction, self.test_fraction)


_DEFAULT_SHARES = Shares()


def collect(
    images: str | None,
    masks: str | None,
    table: str | None,
    slices: str | None = "all",
    label: tuple[str, ...] | None = None,
    level_mask: str | None = None,
    level_label: str | None = None,
    labels: str | None = None,
) -> tuple[list[Pair], dict[str, str]]:
    """Pairs from `images` and `masks`, or from the CSV `table`, and the files without partner, logged, with why.

    The CSV `labels` says more of either, and images with `labels` need no masks. Where a level's label is given, its
    slice is meant unless `slices` says otherwise. Raises `ValueError` where both or neither are given; see
    `mskjax.data.pairs.match`, `mskjax.data.case_table.read_table` and `mskjax.data.case_labels.join`.
    """
    slices = slices or "all"
    if level_label is not None and slices == "all":
        slices = "level"
    if table is not None and images is None and masks is None and level_mask is None:
        pairs, left = read_table(table, slices, label, level_label), {}
    elif table is None and images is not None and (masks is not None or labels is not None):
        pairs, left = match(images, masks, slices, label, level_mask, level_label)
    else:
        raise ValueError("give --images and --masks, or --images and --labels, or --cases alone, or --phantom")
    for name, why in left.items():
        logging.error("failed: %s: %s", name, why)
    return (pairs if labels is None else case_labels.join(pairs, labels)), left


def prepare(
    pairs: Sequence[Pair],
    output: str | Path,
    shares: Shares = _DEFAULT_SHARES,
    source: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Writes the dataset of all `pairs` that can be read, and logs and returns the others: image and case id to why.

    A case id is the user's, followed by `_s012` (the slice, 0-based from the feet) where several slices of the case
    are taken, or else a hash followed by the slice. Nothing is written where no pair can be read. `source` is the
    user's arguments that name the files: a dataset in `output` is only replaced by one from the same source.

    Raises `ValueError` where `output` holds a dataset from another source, the splits cannot be made, a slice is in two
    of them under two patient ids, two slices would have one id, one patient has two labels or sexes, bitmaps and CT are
    mixed, or the folder's key is damaged.
    """
    output = Path(output)
    require_folder(output)
    sources.refuse_other(output, source)
    values = values_of(pairs)
    new = [path for path in (output / pseudonyms.KEY_NAME, output) if not path.exists()]
    key = pseudonyms.case_key(output)
    good, prints, failed = _read(pairs, key, output / "prepared")
    for name, why in failed.items():
        logging.error("failed: %s: %s", name, why)
    if good:
        split = _splits(pairs, good, shares)
        table = _table(pairs, good, split)
        case_labels.refuse_contradictions(table)
        splits.refuse_twins([image_hu for case in good.values() for image_hu in case.image_hu], table)
        made_by = _made_by(vars(shares), [prints[i] for i in good]) | sources.described(source, key)
        _write(output, good, table, {"values": values, "made_by": made_by | {"failed": len(failed)}})
        _forget(output / "prepared", set(prints.values()))
        splits.warn(table, split, all(pair.about.get("split") for pair in pairs), str(output))
    else:
        logging.error("%s is left as it was: no case could be prepared", output)
        for path in new:
            remove(path)
    return failed


def prepare_phantoms(
    count: int, output: str | Path, size: int = 256, seed: int = 0, shares: Shares = _DEFAULT_SHARES
) -> dict[str, str]:
    """Prepares `count` phantom patients, a slice of `size` x `size` pixels each, which are written to output/phantoms.

    `seed` draws them, and the masks of simulated readers of the test cases beside them. Returns the failed ones as
    `prepare` does.
    """
    require_folder(output)
    source = {"phantom": str(count), "phantom_size": str(size), "seed": str(seed)}
    sources.refuse_other(Path(output), source)
    folder = Path(output) / "phantoms"
    failed = prepare(read_table(write_scans(folder, count, size, seed)), output, shares, source)
    if (cases_csv := Path(output) / "cases.csv").is_file():
        prepared = pd.read_csv(cases_csv, dtype=str, keep_default_na=False)
        write_readers(folder, prepared["case_id"][prepared["split"] == "test"].tolist())
    return failed


def _read(pairs: Sequence[Pair], key: bytes, folder: Path) -> tuple[dict[int, Case], dict[int, str], dict[str, str]]:
    """Cases and fingerprints by place in `pairs`, and what failed with why; a progress bar on a terminal.

    Elsewhere there is a line for each tenth of the pairs, unless all so far were kept from an earlier run.
    """
    good: dict[int, Case] = {}
    prints: dict[int, str] = {}
    failed: dict[str, str] = {}
    kept, total = 0, len(pairs)
    bar = tqdm(pairs, desc="prepare", unit="case", disable=None)
    for i, pair in enumerate(bar):
        try:
            cases.check(pair)
            prints[i] = cases.fingerprint(pair, key)
            path = folder / f"{prints[i]}.npz"
            if case := cases.kept(path):
                kept += 1
            else:
                case = cases.read(pair, key)
                cases.keep(case, path)
            good[i] = case
        except (ValueError, OSError, RuntimeError) as error:
            row = pair.listed_at and f"({pair.listed_at})"
            why = " ".join(str(error).split())
            for said in (f"{pair.image}: ", f"{pair.image} "):  # by the name already
                why = why.removeprefix(said)
            failed[" ".join(filter(None, (str(pair.image), pair.case_id, row)))] = why
        if bar.disable and kept <= i and 10 * (i + 1) // total > 10 * i // total:
            said = f"prepared {len(good)} of {splits.counted(total, 'case')}"
            logging.info(said + f", {i + 1 - len(good)} failed" * (i + 1 > len(good)))
    return good, prints, failed


def _splits(pairs: Sequence[Pair], good: dict[int, Case], shares: Shares) -> list[str]:
    """The split of every pair. Those that failed take part, so that the others keep theirs once they are mended."""
    ids = [good[i].about["patient_id"] if i in good else f"failed {i}" for i in range(len(pairs))]
    patients = [pair.patient_id or patient for pair, patient in zip(pairs, ids, strict=True)]
    given, labels = ([pair.about.get(name, "") for pair in pairs] for name in ("split", "sarcopenia"))
    return splits.assign(patients, given, **vars(shares), labels=labels)


def _table(pairs: Sequence[Pair], good: dict[int, Case], split: list[str]) -> pd.DataFrame:
    """cases.csv: a row for each slice."""
    rows = []
    for i, case in good.items():
        pair = pairs[i]
        said = {**case.about, **pair.about, "image": str(pair.image), "mask": str(pair.mask or ""), "split": split[i]}
        said["patient_id"] = pair.patient_id or case.about["patient_id"]
        for k, source in zip(case.slice_index, case.source_index, strict=True):
            several = len(case.slice_index) > 1 or not pair.case_id
            case_id = (pair.case_id or case.about["case_id"]) + (f"_s{k:03d}" if several else "")
            rows.append({**said, "case_id": case_id, "slice_index": k, "source_index": source})
    return pd.DataFrame(rows)


def _write(output: Path, good: dict[int, Case], table: pd.DataFrame, manifest: dict[str, Any]) -> None:
    text = table.to_csv(index=False)
    made_by = manifest["made_by"] | {"table_sha256": hash_of(text.encode()).hexdigest()}
    if _is_current(output, made_by):
        return
    write_dataset(output, _slices(good, list(table["case_id"])), table, {**manifest, "made_by": made_by})
    of_splits = Counter(table["split"])
    counts = ", ".join(f"{of_splits[name]} {name}" for name in SPLITS if of_splits[name])
    written = f"{splits.counted(len(table), 'slice')} of {splits.counted(len(good), 'case')}"
    logging.info("%s: %s (%s)%s", output, written, counts, _remarks(table))


def _remarks(table: pd.DataFrame) -> str:
    """How many slices are sarcopenic and not, and how many have no mask, where there are such."""
    labels = list(table["sarcopenia"]) if "sarcopenia" in table else []
    said = f"; {labels.count('1')} sarcopenic, {labels.count('0')} not" * ("1" in labels or "0" in labels)
    without = list(table["mask"]).count("")
    return said + f"; {without} without a mask" * (without > 0)


def _slices(good: dict[int, Case], case_id: list[str]) -> Slices:
    images = [image for case in good.values() for image in case.image_hu]
    masks = [mask for case in good.values() for mask in case.mask]
    spacing_mm = np.concatenate([np.tile(case.spacing_mm, (len(case.mask), 1)) for case in good.values()])
    return stack(images, masks, spacing_mm, case_id)


def _made_by(options: dict[str, Any], prints: list[str]) -> dict[str, Any]:
    """What dataset.json says of a dataset's making; `inputs` stands for all files read."""
    inputs = hash_of(json.dumps(prints).encode()).hexdigest()
    program = {"program": "mskjax.prepare", "version": version("mskjax")}
    return program | {"options": options, "inputs": inputs}


def _is_current(output: Path, made_by: dict[str, Any]) -> bool:
    """Whether the folder already holds, unharmed, the dataset that `made_by` would make."""
    if not (output / "dataset.json").is_file():
        return False
    manifest = read_json(output / "dataset.json")
    if manifest.get("made_by") != made_by:
        return False
    current = all(
        (output / name).is_file() and sha256(output / name) == was for name, was in manifest["sha256"].items()
    )
    if current:
        logging.info("%s is up to date: %s", output, splits.counted(manifest["counts"]["slices"], "slice"))
    return current


def _forget(folder: Path, prints: set[str]) -> None:
    """Removes kept cases that the present pairs no longer name."""
    for path in folder.glob("*.npz"):
        if path.stem not in prints:
            remove(path)
