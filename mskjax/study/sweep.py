"""Training all cells of a study, on all devices of this process and on its share of several processes.

STUDY/  config.json, provenance.json, pretexts/<name>/, cells/<name>/

Cells that are done are skipped, those that were stopped go on from their checkpoints, and those that another process
trains are left to it. One compiled step serves all cells of a task, each of them on one device.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from mskjax import tasks
from mskjax.data.dataset import Dataset, read_dataset
from mskjax.files import read_json, require_folder
from mskjax.study.cell_run import CellRun, read_failure, remove_checkpoints
from mskjax.study.data_efficiency import PRETEXTS
from mskjax.study.kinds import Cell, kind_of
from mskjax.study.settings import Config
from mskjax.study.shares import WHOLE, Share
from mskjax.study.starts import SKIP, TELL
from mskjax.study.sweep_progress import SweepProgress
from mskjax.training import ahead, optim, origin, provenance, sharding, signals, supply
from mskjax.training.folder import is_done
from mskjax.training.loop import Interrupted, fit
from mskjax.training.run import check, train_run
from mskjax.training.step import compile_steps

Configs = Mapping[str, dict[str, Any]]  # of runs, by the name of their cell
WAIT_S = 10.0


@dataclass(frozen=True)
class Work:
    """What all trainings of a study share: its config, its dataset, its folder, and whether a signal asks to stop."""

    study: Mapping[str, Any]
    dataset: Dataset
    workdir: Path
    caught: signals.Caught


def sweep(config: Config, workdir: str | Path, share: Share = WHOLE) -> dict[str, str]:
    """Trains the cells of a study's `config`, as of configs/data_efficiency.py, in `workdir`; the failed, with why.

    Raises `ValueError` or `OSError` where the study cannot be run as asked, among them a folder of another study, and
    `mskjax.training.Interrupted` after a signal, once all cells under way are saved.
    """
    workdir = Path(workdir)
    study, dataset, cells = prepare(config, workdir)
    sharding.make_lanes(study["devices"], 1)  # refuses devices that are not there
    kind = kind_of(study)
    configs = {cell.name: kind.run_config(study, cell) for cell in cells}
    for name in kind.pretexts(study):
        _is_done(workdir / PRETEXTS / name, kind.pretext_config(study, name), dataset)
    # Of all, not of this share alone: cells of another length of training are no part of this study.
    done = {cell.name for cell in cells if _is_done(workdir / "cells" / cell.name, configs[cell.name], dataset)}
    for name in done:
        remove_checkpoints(workdir / "cells" / name)  # left by a process that was killed as the cell ended
    mine = [cell for cell in share.of(cells) if cell.name not in done]
    failed = {cell.name: why for cell in mine if (why := read_failure(workdir / "cells" / cell.name))}
    mine = [cell for cell in mine if cell.name not in failed]
    logging.info("%d cells, of which %d are to be trained here", len(cells), len(mine))
    if done and (kept := read_json(workdir / "config.json")["keep"]) != study["keep"]:
        asked = study["keep"]
        logging.warning("the cells that are done keep %s; what keep=%s asks for is of those to come", kept, asked)
    record(workdir, study, dataset, share)
    if mine:
        with SweepProgress(mine, study["epochs"]) as progress, signals.caught() as caught:
            work = Work(study, dataset, workdir, caught)
            for name in share.of(kind.pretexts(study)):
                train_pretext(work, name)
            _train(work, mine, configs, progress)
        failed |= progress.failed
    return failed


def prepare(config: Config, workdir: Path, to_train: bool = True) -> tuple[dict[str, Any], Dataset, Sequence[Cell]]:
    """A study that can be run in `workdir`: its config, its dataset, and its cells but for weights that may be missing.

    Nothing is written. Raises `ValueError` or `OSError` where it cannot; weights that are missing, but not those of
    another network, are warned of and not refused unless it is `to_train`; where none is there, all cells are told.
    """
    kind = kind_of(config)
    study = kind.checked(config)
    check({"learning_rate": 1.0, **study})
    require_folder(workdir)
    dataset = read_dataset(study["dataset"])
    kind.check(study, dataset)
    if (workdir / "config.json").is_file():
        if "study" not in read_json(workdir / "config.json"):
            raise ValueError(f"{workdir} is the folder of a run, not of a study; use another workdir")
        provenance.check_config(workdir, study, free=(*provenance.FREE, *kind.free))
        provenance.check_dataset(workdir, dataset.manifest["sha256"])
    told = study["missing_weights"] == SKIP or to_train
    lacking = kind.missing(study if told else {**study, "missing_weights": TELL})
    for name, command in lacking.items():
        logging.warning("the weights of %s are missing; what adds them: %s", name, command)
    left = [name for name in study[kind.axis] if name not in lacking or study["missing_weights"] != SKIP]
    if not left:
        why = f"as the weights of all {kind.axis} are missing"
        if to_train:
            raise FileNotFoundError(f"nothing is left to train, {why}; add those of one by its command above")
        logging.warning("nothing would be trained yet, %s; this is the plan of all of them", why)
    return study, dataset, kind.plan(dataset.cases, {**study, kind.axis: left or study[kind.axis]})


def record(workdir: Path, study: Mapping[str, Any], dataset: Dataset, share: Share) -> None:
    """Writes what the study is made from, and each start of its first share; another share writes but a new study."""
    begun = (workdir / "config.json").is_file()
    if share.rank and begun:
        return
    about = origin.of_dataset(study["dataset"], dataset.manifest)
    provenance.record(workdir, study, about, None, step=int(begun))


def rows_of(dataset: Dataset, cases: Sequence[str]) -> np.ndarray:
    """The rows of cases in a dataset, in the order of the cases."""
    places = {str(case_id): row for row, case_id in enumerate(dataset.slices.case_id)}
    return np.array([places[case] for case in cases], np.int32)


def train_pretext(work: Work, name: str) -> None:
    """Trains a pretext, on all devices, or waits until another process has."""
    study, dataset, kind = work.study, work.dataset, kind_of(work.study)
    config, folder = kind.pretext_config(study, name), work.workdir / PRETEXTS / name
    if is_done(folder, config):
        return
    logging.info("pretext %s", name)
    mesh, learned = sharding.make_mesh(config["devices"], config["batch_size"]), kind.learned(dataset)
    train, validation = (rows_of(learned, cases) for cases in kind.pretext_split(dataset.cases, study))
    own = supply.of_cells(config, mesh, learned)
    rows = own.choose(train, validation)
    while not is_done(folder, config):
        try:
            train_run(folder, config, rows, own, mesh)
        except BlockingIOError:
            logging.info("pretext %s is being trained by another process, which is waited for", name)
            time.sleep(WAIT_S)
            if work.caught.signum:
                raise Interrupted(work.caught.signum) from None


def _train(work: Work, cells: Sequence[Cell], configs: Configs, progress: SweepProgress) -> None:
    """Trains cells: first those that can start, then those whose pretext another process may still be training."""

    def run(chosen: Sequence[Cell]) -> None:
        for task in dict.fromkeys(_task(configs[cell.name]) for cell in chosen):
            alike = [cell for cell in chosen if _task(configs[cell.name]) == task]
            _train_alike(work, alike, configs, progress)

    ready = [cell for cell in cells if _has_start(configs[cell.name], work.workdir)]
    run(ready)
    waiting = [cell for cell in cells if cell not in ready]
    for name in dict.fromkeys(_pretext(configs[cell.name]) for cell in waiting):
        train_pretext(work, name)
    run(waiting)


def _train_alike(work: Work, cells: Sequence[Cell], configs: Configs, progress: SweepProgress) -> None:
    """Trains cells of one task, which share one compiled step and one compiled evaluation."""
    study, dataset, kind = work.study, work.dataset, kind_of(work.study)
    size, learned, first = study["batch_size"], kind.learned(dataset), configs[cells[0].name]
    mesh = sharding.make_lanes(study["devices"], len(cells))
    task, optimizer = tasks.build(first["task"]), optim.adam(first.get("weight_decay", 0.0))
    own = supply.of_cells(first, mesh, learned)
    steps = compile_steps(task, optimizer, mesh)
    judge = kind.judge(dataset, task, first)
    crops = first.get("crops_per_scan", 1)
    batches = max(-(-len(cell.validation_cases) * crops // size) for cell in cells)
    about = origin.of_dataset(study["dataset"], dataset.manifest)

    def run(cell: Cell) -> CellRun:
        rows = own.choose(rows_of(learned, cell.train_cases), rows_of(learned, cell.validation_cases), batches)
        folder, config = work.workdir / "cells" / cell.name, configs[cell.name]
        hooks = {"judge": judge, "keep": study["keep"], "progress": progress}
        return CellRun(folder, config, about, rows, task, optimizer, base=work.workdir, **hooks)

    state = ahead.abstract_state(task, optimizer, tasks.examples(task, 1, first["image_size"]))
    with ahead.compiled(steps, state, *own.shapes(task), mesh) as compiled:
        fit(compiled, own.load(), _entered(map(run, cells)), mesh, work.caught)


def _is_done(folder: Path, config: Mapping[str, Any], dataset: Dataset) -> bool:
    """Whether a cell or pretext is done; `ValueError` where its folder is of another config or dataset, done or not."""
    if (folder / "config.json").is_file():
        provenance.check_config(folder, config)
        if (folder / "provenance.json").is_file():
            provenance.check_dataset(folder, dataset.manifest["sha256"])
    return is_done(folder, config)


def _entered(runs: Iterable[CellRun]) -> Iterator[CellRun]:
    """The runs that no other process trains or has ended, each kept to this one from the moment it is asked for."""
    for run in runs:
        try:
            run.__enter__()
        except BlockingIOError:
            logging.info("%s is being trained by another process", run.workdir.name)
            continue
        # Known for certain only now: it was free when this process began, and may have been ended since.
        if is_done(run.workdir, run.config) or read_failure(run.workdir):
            logging.info("%s was trained by another process", run.workdir.name)
            run.close()
            continue
        yield run


def _task(config: Mapping[str, Any]) -> str:
    """What cells must have in common to share one compiled step."""
    return json.dumps(config["task"], sort_keys=True)


def _pretext(config: Mapping[str, Any]) -> str:
    """The name of the pretext that a cell starts from, "" for none."""
    folder, _, name = config["init_from"].partition("/")
    return name if folder == PRETEXTS else ""


def _has_start(config: Mapping[str, Any], workdir: Path) -> bool:
    name = _pretext(config)
    return not name or (workdir / PRETEXTS / name / "DONE").is_file()
