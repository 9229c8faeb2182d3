"""Makes a dataset folder from images with masks or labels, or from phantoms.

Cases that succeeded are written, and those that failed returned with why. What is done is kept in the folder's
`prepared/` (see `mskjax.data.cases`), so that a command which was stopped goes on where it was.

Ids are the user's or keyed hashes (see `mskjax.data.pseudonyms`); sex, age, height and weight come from DICOM headers
where the user gives none. The columns image and mask repeat the paths that the user gave. A dataset is of CT in HU or
of bitmaps in grey levels, never of both; bitmaps name nobody, so that each is a patient of its own unless the user
says otherwise.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
from absl import logging

from mskjax.data import assembly, case_labels, cases, phantom_volumes, pseudonyms, sources, splits, volume_cases
from mskjax.data.case_table import read_table
from mskjax.data.pair_loop import finish_all
from mskjax.data.pairs import Pair, match, values_of
from mskjax.data.phantom_scans import write_readers, write_scans
from mskjax.data.volume_cases import VolumeOptions
from mskjax.files import remove, require_folder


@dataclass(frozen=True)
class Shares:
    """How many of the patients validate and test, as fractions, and the seed that draws them."""

    validation_fraction: float = 0.2
    test_fraction: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        splits.check_fractions(self.validation_fraction, self.test_fraction)

    def refuse_few(self, most: int) -> None:
        """Raises `ValueError` where at least one and at most `most` patients without a given split are too few."""
        splits.refuse_few(most, self.validation_fraction, self.test_fraction)


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
    unmasked: bool = False,
) -> tuple[list[Pair], dict[str, str]]:
    """Pairs from `images` and `masks`, or from the CSV `table`, and the files without partner, logged, with why.

    The CSV `labels` says more of either. Images need no masks where there are `labels`, or they may be `unmasked`, as
    whole scans may; the folder of one DICOM series is one of these. Where a level's label is given, its slice is meant
    unless `slices` says otherwise. Raises `ValueError` where both or neither are given; see `mskjax.data.pairs.match`,
    `mskjax.data.case_table.read_table` and `mskjax.data.case_labels.join`.
    """
    slices = slices or "all"
    if level_label is not None and slices == "all":
        slices = "level"
    if table is not None and images is None and masks is None and level_mask is None:
        pairs, left = read_table(table, slices, label, level_label), {}
    elif table is None and images is not None and (masks is not None or labels is not None or unmasked):
        pairs, left = match(images, masks, slices, label, level_mask, level_label, whole=unmasked)
    else:
        bare = " (and no masks with --spacing_mm, to pretrain on)"
        raise ValueError(f"give --images and --masks{bare}, or --images and --labels, or --cases alone, or --phantom")
    for name, why in left.items():
        logging.error("failed: %s: %s", name, why)
    return (pairs if labels is None else case_labels.join(pairs, labels)), left


def prepare(
    pairs: Sequence[Pair],
    output: str | Path,
    shares: Shares = _DEFAULT_SHARES,
    source: Mapping[str, str] | None = None,
    volumes: VolumeOptions | None = None,
    workers: int = 1,
) -> dict[str, str]:
    """Writes the dataset of all `pairs` that can be read, and logs and returns the others: image and case id to why.

    With `volumes` it is one of whole scans (see `mskjax.data.volume_folder`), else of slices. A case id is the user's,
    or else a hash; that of a slice is followed by `_s012` (its number, 0-based from the feet) where several slices of
    the case are taken, or it is a hash. Nothing is written where no pair can be read. `source` is the user's arguments
    that name the files: a dataset in `output` is only replaced by one from the same source, of the same kind and
    spacing. `workers` is the number of processes. Slices and their masks are held in memory until they are written,
    volumes only while they are made.

    Raises `ValueError` where `output` holds another dataset than that, the splits cannot be made, a slice or a scan
    is in two of them under two patient ids, two cases would have one id, one patient has two labels or sexes, bitmaps
    and CT are mixed, volumes are to be made of bitmaps, or the folder's key is damaged; `OSError` where the disk is
    full.
    """
    output = Path(output)
    require_folder(output)
    sources.refuse_other(output, source, volumes and volumes.spacing_mm)
    values = values_of(pairs)
    if volumes is not None and values != "hu":
        raise ValueError(f"volumes are made of CT, and {pairs[0].image} is a bitmap; leave --spacing_mm out")
    if not any(pair.about.get("split") for pair in pairs):
        shares.refuse_few(len({pair.patient_id or i for i, pair in enumerate(pairs)}))
    new = [path for path in (output / pseudonyms.KEY_NAME, output) if not path.exists()]
    key = pseudonyms.case_key(output)
    good, prints, failed = _finish(pairs, key, output, volumes, workers)
    for name, why in failed.items():
        logging.error("failed: %s: %s", name, why)
    if good:
        split = _splits(pairs, good, shares)
        table = assembly.table(pairs, good, split)
        case_labels.refuse_contradictions(table)
        assembly.refuse_twins(good, table)
        made_by = assembly.made_by(vars(shares), volumes, prints) | sources.described(source, key)
        told = {} if volumes is None else {"spacing_mm": list(volumes.spacing_mm)}
        manifest = {"values": values, **told, "made_by": made_by | {"failed": len(failed)}}
        assembly.write(output, good, table, manifest)
        assembly.forget(output, set(prints))
        splits.warn(table, split, all(pair.about.get("split") for pair in pairs), str(output))
    else:
        logging.error("%s is left as it was: no case could be prepared", output)
        for path in new:
            remove(path)
    return failed


def prepare_phantoms(
    count: int,
    output: str | Path,
    size: int = 256,
    seed: int = 0,
    shares: Shares = _DEFAULT_SHARES,
    volumes: VolumeOptions | None = None,
    workers: int = 1,
) -> dict[str, str]:
    """Prepares `count` phantoms, each a slice of `size` x `size` pixels or a volume of such; output/phantoms has them.

    `seed` draws them, and, of slices, the masks of simulated readers of the test cases beside them. Volumes have a mask
    on the slice at L3 alone. Returns the failed ones as `prepare` does.
    """
    require_folder(output)
    source = {"phantom": str(count), "phantom_size": str(size), "seed": str(seed)}
    sources.refuse_other(Path(output), source, volumes and volumes.spacing_mm)
    shares.refuse_few(count)
    folder = Path(output) / "phantoms"
    if volumes is not None:
        drawn = phantom_volumes.write_volumes(folder, count, size, seed)
        return prepare(read_table(drawn), output, shares, source, volumes, workers)
    failed = prepare(read_table(write_scans(folder, count, size, seed)), output, shares, source, workers=workers)
    if (cases_csv := Path(output) / "cases.csv").is_file():
        prepared = pd.read_csv(cases_csv, dtype=str, keep_default_na=False)
        write_readers(folder, prepared["case_id"][prepared["split"] == "test"].tolist())
    return failed


def _finish(
    pairs: Sequence[Pair], key: bytes, output: Path, volumes: VolumeOptions | None, workers: int
) -> tuple[assembly.Cases, list[str], dict[str, str]]:
    """Cases by place in `pairs`, the fingerprints of all that are finished, and what failed with why."""
    if volumes is None:
        slices, failed = finish_all(pairs, partial(cases.finish, key=key, folder=output / "prepared"), workers)
        return {i: one.case for i, one in slices.items()}, [one.fingerprint for one in slices.values()], failed
    finish = partial(volume_cases.finish, key=key, folder=output, options=volumes)
    finished, failed = finish_all(pairs, finish, workers)
    if volumes.verify:
        harmed = sum(one.was_harmed for one in finished.values())
        verified = harmed + sum(one.was_kept for one in finished.values())
        logging.info("verified %s: %d altered and made anew", splits.counted(verified, "volume"), harmed)
    return {i: one.case for i, one in finished.items()}, [one.fingerprint for one in finished.values()], failed


def _splits(pairs: Sequence[Pair], good: assembly.Cases, shares: Shares) -> list[str]:
    """The split of every pair. Those that failed take part, so that the others keep theirs once they are mended."""
    ids = [good[i].about["patient_id"] if i in good else f"failed {i}" for i in range(len(pairs))]
    patients = [pair.patient_id or patient for pair, patient in zip(pairs, ids, strict=True)]
    given, labels = ([pair.about.get(name, "") for pair in pairs] for name in ("split", "sarcopenia"))
    return splits.assign(patients, given, **vars(shares), labels=labels)
