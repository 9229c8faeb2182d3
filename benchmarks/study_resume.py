"""A study of 96 networks straight through, and the same killed three times and started again, as one JSON line.

    python -m benchmarks.study_resume --work=FOLDER

24 phantoms of 64 pixels train and 8 test: two initialisations, three sizes, and 4 folds x 2 draws x 2 seeds of each. In
another folder the same sweep gets SIGKILL in the middle of its pretext, in the middle of a cell, and when a cell has
written its scores but not yet that it is done. Figures to reach: all tables equal, byte for byte, and beyond that every
run's losses, masks, scores and best weights. Started again, the program goes on where it was. Exit 1: they differ.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.common import report
from benchmarks.studies import command, dice_means, launch, sweep_flags
from mskjax.files import read_json, write_json
from mskjax.training.writer import METRICS, read_rows

EPOCHS, PRETEXT_EPOCHS = 12, 60
STUDY = {
    "image_size": 64,
    "inits": ("random", "jigsaw"),
    "sizes": (2, 4, 8),
    "epochs": EPOCHS,
    "pretexts.jigsaw.task.resize": 96,
    "pretexts.jigsaw.task.tile_size": 24,
    "pretexts.jigsaw.learning_rate": 1e-3,
    "pretexts.jigsaw.epochs": PRETEXT_EPOCHS,
}
OFTEN = {"checkpoint_minutes": 0.005}
RUN_FILES = (METRICS, "scores.csv", "predictions.npz", "best/variables.safetensors")
Finder = Callable[[Path, float], Iterator[Path]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for the dataset and both studies (2 GB)")
    work = parser.parse_args().work
    dataset, straight, killed = (work / name for name in ("dataset", "straight", "killed"))
    launch("prepare", "--phantom=32", "--phantom_size=64", "--test_fraction=0.25", f"--output={dataset}")
    fields, start = {"dataset": dataset, **STUDY}, time.perf_counter()
    launch("sweep", *sweep_flags(straight, "network=small", fields))
    half = time.perf_counter()
    often = command("sweep", *sweep_flags(killed, "network=small", fields | OFTEN))
    kills = kill_at_each(work / "kills.json", killed, often)
    launch("sweep", *sweep_flags(killed, "network=small", fields))
    end = time.perf_counter()
    for study in (straight, killed):
        launch("evaluate", f"--workdir={study}")
    tables, runs = compare(straight, killed, "evaluation/*.csv"), compare_runs(straight, killed)
    report(
        "study_resume",
        cells=done(straight),
        tables_equal=not any(tables.values()),
        tables=list(tables),
        runs=len(runs),
        runs_unlike=[name for name, differs in runs.items() if differs],
        kills=kills,
        resumed_at_steps=resumed(killed),
        straight_minutes=round((half - start) / 60, 1),
        killed_minutes=round((end - half) / 60, 1),
        jigsaw_accuracy=read_rows(straight / "pretexts" / "jigsaw" / METRICS)[-1]["validation_accuracy"],
        dice_mean=dice_means(straight),
    )
    return int(any(tables.values()) or any(runs.values()))


def kill_at_each(record: Path, study: Path, sweep: list[str]) -> list[dict[str, Any]]:
    """Starts the sweep and kills it, for each moment that `record` does not hold yet; what was killed, and how far."""
    kills = read_json(record) if record.is_file() else []
    for moment, find in list(MOMENTS.items())[len(kills) :]:
        run = kill_at(study, sweep, find)
        saved = [int(path.name) for path in run.glob("checkpoints/*") if path.name.isdigit()]
        kills.append(
            {
                "moment": moment,
                "run": run.name,
                "epochs": len(read_rows(run / METRICS)),
                "saved_step": max(saved, default=0),
            }
        )
        write_json(record, kills)
    return kills


def kill_at(study: Path, sweep: list[str], find: Finder) -> Path:
    """Kills the sweep as soon as there is a run of the kind that `find` looks for; its folder."""
    since = time.time()
    with subprocess.Popen(sweep) as process:
        try:
            while process.poll() is None:
                if run := next(find(study, since), None):
                    return run
                time.sleep(0.002)
        finally:
            process.kill()
    status = process.returncode
    raise RuntimeError(f"the sweep ended with status {status} before its moment came; delete {study} and try again")


def in_pretext(study: Path, since: float) -> Iterator[Path]:
    return under_way(study / "pretexts", since, PRETEXT_EPOCHS // 3)


def in_cell(study: Path, since: float) -> Iterator[Path]:
    """Cells under way, once 20 others are done."""
    return under_way(study / "cells", since, EPOCHS // 2) if done(study) >= 20 else iter(())


def at_end(study: Path, since: float) -> Iterator[Path]:
    """Cells that have written their scores but not that they are done, once 40 others are."""
    if done(study) < 40:
        return iter(())
    found = (path.parent for path in (study / "cells").glob("*/scores.csv") if path.stat().st_mtime > since)
    return (run for run in found if not (run / "DONE").exists())


def done(study: Path) -> int:
    return len(list((study / "cells").glob("*/DONE")))


def under_way(runs: Path, since: float, epochs: int) -> Iterator[Path]:
    """Runs that this process has saved, and that are in or after epoch number `epochs`, but not at their end."""
    for path in runs.glob(f"*/{METRICS}"):
        run, last = path.parent, 0
        if path.stat().st_mtime > since and not (run / "DONE").exists() and not (run / "scores.csv").exists():
            last = len(read_rows(path))
        if last >= epochs and any(saved.name.isdigit() for saved in run.glob("checkpoints/*")):
            yield run


MOMENTS: dict[str, Finder] = {"in a pretext": in_pretext, "in a cell": in_cell, "at the end of a cell": at_end}


def compare(straight: Path, killed: Path, pattern: str) -> dict[str, bool]:
    """Of all files that match in either folder, whether the two differ, or one is missing."""
    names = sorted({str(path.relative_to(study)) for study in (straight, killed) for path in study.glob(pattern)})
    return {name: content(straight / name) != content(killed / name) for name in names}


def compare_runs(straight: Path, killed: Path) -> dict[str, bool]:
    """Of all runs, whether any of the files that depend on no clock differs."""
    files: dict[str, bool] = {}
    for name in RUN_FILES:
        files |= compare(straight, killed, f"*/*/{name}")
    runs: dict[str, bool] = {}
    for name, differs in files.items():
        run = "/".join(Path(name).parts[:2])
        runs[run] = runs.get(run, False) or differs
    return runs


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def resumed(study: Path) -> dict[str, list[int]]:
    """The runs that were begun more than once, with the step of each start."""
    records = {path.parent.name: read_json(path) for path in study.glob("*/*/provenance.json")}
    steps = {name: [start["step"] for start in record["starts"]] for name, record in records.items()}
    return {name: own for name, own in sorted(steps.items()) if len(own) > 1}


if __name__ == "__main__":
    sys.exit(main())
