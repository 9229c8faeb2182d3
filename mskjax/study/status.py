"""How far a study is, read from its folder while others may be writing it; nothing is changed there.

A cell is done when its folder holds DONE, and failed when it holds FAILED, the reason. It is running while its lock is
held; where a file system keeps locks from other machines, a lock that is there and a folder that has changed within a
checkpoint's interval say so too, and for that long after a kill they say so wrongly. All others wait.
"""

import fcntl
import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from mskjax.data.splits import counted
from mskjax.files import read_json
from mskjax.study.data_efficiency import PRETEXTS
from mskjax.study.kinds import Cell, axes
from mskjax.study.settings import Config
from mskjax.study.sweep import prepare
from mskjax.study.text import duration, table
from mskjax.training.writer import METRICS, read_rows

STATES = ("done", "running", "failed", "waiting")
LISTED = 16  # running or failed cells that are named
GRACE_S = 120.0  # for what a checkpoint's own writing takes, and for clocks that differ


@dataclass(frozen=True)
class Progress:
    """One run: its state, of `STATES`, and of one that is not done its epochs so far, else its seconds by DONE."""

    state: str
    epoch: int = 0
    seconds: float = math.nan
    why: str = ""


Survey = list[tuple[Cell, Progress]]


def of_study(config: Config, workdir: str | Path) -> str:
    """The state of the study that a config describes, as text; `ValueError` where the folder is of another study."""
    return status(workdir, prepare(config, Path(workdir), to_train=False)[2])


def progress(folder: Path) -> Progress:
    """How far the run in a folder is; waiting where there is no folder."""
    if (outcome := _read(folder / "DONE")) is not None:
        return Progress("done", seconds=float(outcome.get("seconds", "nan")))
    if _is_running(folder):
        return Progress("running", _epoch(folder))
    if (why := _text(folder / "FAILED")) is not None:
        return Progress("failed", _epoch(folder), why=" ".join(why.split()))
    return Progress("waiting", _epoch(folder))


def survey(workdir: str | Path, cells: Sequence[Cell]) -> Survey:
    """How far each cell is."""
    return [(cell, progress(Path(workdir) / "cells" / cell.name)) for cell in cells]


def left_s(found: Survey) -> float:
    """The seconds until all cells are done, with as many at a time as are running, at least one.

    Each takes the mean time of the done cells of its pace, of all done cells where there is none; those that run are
    counted half. Failed ones are not tried again. NaN as long as no cell is done.
    """
    times_s: dict[str, list[float]] = {}
    for cell, run in found:
        if run.state == "done" and not math.isnan(run.seconds):
            times_s.setdefault(cell.pace, []).append(run.seconds)
    every_s = [seconds for alike in times_s.values() for seconds in alike] or [math.nan]
    share = {"waiting": 1.0, "running": 0.5}
    work_s = sum(share[run.state] * fmean(times_s.get(cell.pace, every_s)) for cell, run in found if run.state in share)
    return work_s / max(Counter(run.state for _, run in found)["running"], 1)


def status(workdir: str | Path, cells: Sequence[Cell]) -> str:
    """The state of a study as text: a table of its cells, the time left, who is running and what failed."""
    found = survey(workdir, cells)
    pretexts = sorted(path for path in (Path(workdir) / PRETEXTS).glob("*") if path.is_dir())
    lines = [
        *(f"pretext {path.name}: {_told(progress(path))}" for path in pretexts),
        _grid(found),
        _summary(found),
        *_named(found, "running"),
        *_named(found, "failed"),
    ]
    return "\n".join(lines) + "\n"


def _grid(found: Survey) -> str:
    names, columns = axes([cell for cell, _ in found])

    def row(label: str, of_row: Survey) -> list[str]:
        return [
            label,
            *(_counted([one for one in of_row if one[0].column == name]) for name in columns),
            _counted(of_row),
        ]

    rows = [row(name, [one for one in found if one[0].row == name]) for name in names]
    return table([["done of all", *columns, "all"], *rows, row("all", found)])


def _counted(found: Survey) -> str:
    """Such as "3/16", "3/16 +2" where two are running, "3/16 +2 !1" where one has failed."""
    numbers = Counter(run.state for _, run in found)
    marks = [f"{mark}{numbers[state]}" for state, mark in (("running", "+"), ("failed", "!")) if numbers[state]]
    return " ".join([f"{numbers['done']}/{len(found)}", *marks])


def _summary(found: Survey) -> str:
    numbers = Counter(run.state for _, run in found)
    told = ", ".join(f"{numbers[state]} {state}" for state in STATES)
    seconds, running = left_s(found), numbers["running"]
    at_once = f"with {counted(running, 'cell')} at a time" if running else "one at a time, once it is started again"
    if math.isnan(seconds):
        left = "the time left is told once a cell is done"
    else:
        left = f"about {duration(seconds)} left {at_once}" if seconds else "nothing is left to do"
    return f"{counted(len(found), 'cell')}: {told} (+ running, ! failed); {left}"


def _named(found: Survey, state: str) -> list[str]:
    lines = [f"{cell.name}: {_told(run)}" for cell, run in found if run.state == state]
    return [*lines[:LISTED], f"and {len(lines) - LISTED} more {state}"] if len(lines) > LISTED else lines


def _told(run: Progress) -> str:
    if run.state == "failed":
        return f"failed, {run.why}"
    return f"{run.state}, {counted(run.epoch, 'epoch')}" if run.epoch else run.state


def _is_running(folder: Path) -> bool:
    lock = folder / ".lock"
    if not lock.is_file():
        return False
    own = _read(folder / "config.json") or {}
    interval_s = 60 * float(own.get("checkpoint_minutes", 0)) + GRACE_S
    changes_s = [_changed_s(folder / name) for name in (".lock", METRICS, "checkpoints")]
    return time.time() - max(changes_s) < interval_s or _is_held(lock)


def _is_held(lock: Path) -> bool:
    """Whether a process holds the lock; asked for as a reader, which keeps nobody out for longer than the question."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # removed at this moment, or a file system without locks
        return False
    return False


def _changed_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _epoch(folder: Path) -> int:
    rows = read_rows(folder / METRICS)
    return int(rows[-1]["epoch"]) if rows else 0


def _read(path: Path) -> dict[str, Any] | None:
    """What a JSON file holds; None where it is missing, or disappears while it is read."""
    try:
        return read_json(path)
    except FileNotFoundError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
