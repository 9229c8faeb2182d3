"""A cohort of small scans, prepared as volumes."""

import csv
from hashlib import sha256

from pair_files import ALL_TRAIN, pair

from mskjax.data import prepare
from mskjax.data.volume_cases import VolumeOptions

# Of slices 5 mm apart with pixels of 1.5 x 1.0 mm: as they are within a slice, and a plane between two slices.
HALVED = VolumeOptions((1.0, 1.5, 2.5))


def make(cohort, options=HALVED, **choice):
    return prepare.prepare([pair(cohort, i, **choice) for i in range(3)], cohort / "out", ALL_TRAIN, None, options)


def state(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def assert_as_written(folder):
    """All files are those whose digests stand in volumes.csv."""
    with (folder / "volumes.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        for kind in ("volume", "label"):
            if digest := row[f"{kind}_sha256"]:
                assert sha256((folder / f"{kind}s" / f"{row['file']}.npy").read_bytes()).hexdigest() == digest
