"""Training all cells of a study, on all devices of this process and on its share of several processes.

STUDY/  config.json, provenance.json, pretexts/<name>/, cells/<name>/

Cells that are done are skipped, those that were stopped go on from their checkpoints, and those that another process
trains are left to it. One compiled step serves all cells, each of them on one device.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from mskjax import tasks
from mskjax.data.dataset import Dataset, read_dataset
from mskjax.files import read_json, require_folder
from mskjax.study import cohort, starts
from mskjax.study.cell_run import CellRun, judge, read_failure, remove_checkpoints
from mskjax.study.data_efficiency import (
    PRETEXTS,
    Cell,
    Config,
    checked,
    plan,
    pretext_config,
    pretext_split,
    pretexts,
    run_config,
)
from mskjax.study.shares import WHOLE, Share
from mskjax.study.sweep_progress import SweepProgress
from mskjax.training import optim, provenance, sharding, signals
from mskjax.training.examples import choose
from mskjax.training.folder import is_done
from mskjax.training.loop import Interrupted, fit
from mskjax.training.run import check, load, train_run
from mskjax.training.step import compile_steps

WAIT_S = 10.0
# What may change when a study goes on, beside what may change in a run: further cells, and all that concerns results.
FREE = ("inits", "sizes", "draws", "seeds", "missing_weights", "keep", "observers", "alpha", "bootstrap_samples")
FREE += ("leave_out",)


def sweep(config: Config, workdir: str | Path, share: Share = WHOLE) -> dict[str, str]:
    """Trains the cells of `config` (as of configs/data_efficiency.py) in `workdir`; the failed ones, with why.

    Raises `ValueError` or `OSError` where the study cannot be run as asked, among them a folder of another study, and
    `mskjax.training.Interrupted` after SIGTERM or SIGINT, once all cells under way are saved.
    """
    workdir = Path(workdir)
    study, dataset, cells = prepare(config, workdir)
    sharding.make_lanes(study["devices"], 1)  # refuses devices that are not there
    configs = {cell.name: run_config(study, cell) for cell in cells}
    for name in pretexts(study):
        _is_done(workdir / PRETEXTS / name, pretext_config(study, name), dataset)
    # Of all, not of this share alone: cells of another length of training are no part of this study.
    done = {cell.name for cell in cells if _is_done(workdir / "cells" / cell.name, configs[cell.name], dataset)}
    for name in done:
        remove_checkpoints(workdir / "cells" / name)  # left by a process that was killed as the cell ended
    mine = [cell for cell in share.of(cells) if cell.name not in done]
    failed = {cell.name: why for cell in mine if (why := read_failure(workdir / "cells" / cell.name))}
    mine = [cell for cell in mine if cell.name not in failed]
    logging.info("%d cells, of which %d are to be trained here", len(cells), len(mine))
    record(workdir, study, dataset)
    if mine:
        with SweepProgress(mine, study["epochs"]) as progress, signals.caught() as caught:
            for name in share.of(pretexts(study)):
                train_pretext(study, name, dataset, workdir, caught)
            _train(study, dataset, mine, configs, workdir, progress, caught)
        failed |= progress.failed
    return failed


def prepare(config: Config, workdir: Path, to_train: bool = True) -> tuple[dict[str, Any], Dataset, list[Cell]]:
    """A study that can be run in `workdir`: its config, its dataset, and its cells but for weights that may be missing.

    Nothing is written. Raises `ValueError` or `OSError` where it cannot; weights that are missing are warned of and not
    refused unless it is `to_train`.
    """
    study = checked(config)
    check({**study, "learning_rate": 1.0})
    require_folder(workdir)
    dataset = read_dataset(study["dataset"])
    cohort.check_held_out(dataset.cases)
    if study["observers"] and not Path(study["observers"]).is_file():
        raise FileNotFoundError(f"config.observers {study['observers']} is missing; name a CSV of readers' masks")
    if (workdir / "config.json").is_file():
        if "inits" not in read_json(workdir / "config.json"):
            raise ValueError(f"{workdir} is the folder of a run, not of a study; use another workdir")
        provenance.check_config(workdir, study, free=(*provenance.FREE, *FREE))
        provenance.check_dataset(workdir, dataset.manifest["sha256"])
    lacking = starts.missing(study if to_train else {**study, "missing_weights": starts.SKIP})
    for init, command in lacking.items():
        logging.warning("the weights of initialisation %s are missing; what adds it: %s", init, command)
    left = [init for init in study["inits"] if init not in lacking or study["missing_weights"] != starts.SKIP]
    if not left:
        raise FileNotFoundError(f"no initialisation is left, as the weights of all are missing; {lacking}")
    return study, dataset, plan(dataset.cases, {**study, "inits": left})


def record(workdir: Path, study: Mapping[str, Any], dataset: Dataset) -> None:
    """Writes what the study is made from."""
    origin = {"path": study["dataset"], "sha256": dataset.manifest["sha256"]}
    provenance.record(workdir, study, origin, None, step=int((workdir / "config.json").is_file()))


def train_pretext(study: Mapping[str, Any], name: str, dataset: Dataset, workdir: Path, caught: signals.Caught) -> None:
    """Trains a pretext, on all devices, or waits until another process has."""
    config, folder = pretext_config(study, name), workdir / PRETEXTS / name
    if is_done(folder, config):
        return
    logging.info("pretext %s", name)
    mesh, learned = sharding.make_mesh(config["devices"], config["batch_size"]), dataset.without_test()
    train, validation = (_rows(learned, cases) for cases in pretext_split(dataset.cases, study))
    rows = choose(train, validation, config["batch_size"])
    arrays = load(learned, config["image_size"], mesh)
    while not is_done(folder, config):
        try:
            train_run(folder, config, rows, arrays, dataset.manifest, mesh)
        except BlockingIOError:
            logging.info("pretext %s is being trained by another process, which is waited for", name)
            time.sleep(WAIT_S)
            if caught.signum:
                raise Interrupted(caught.signum, []) from None


def _train(
    study: Mapping[str, Any],
    dataset: Dataset,
    cells: Sequence[Cell],
    configs: Mapping[str, dict[str, Any]],
    workdir: Path,
    progress: SweepProgress,
    caught: signals.Caught,
) -> None:
    """Trains cells: first those that can start, then those whose pretext another process may still be training."""
    learned, size = dataset.without_test(), study["batch_size"]
    mesh = sharding.make_lanes(study["devices"], len(cells))
    task, optimizer, arrays = tasks.build(study["task"]), optim.adam(), load(learned, study["image_size"], mesh)
    steps, expert = compile_steps(task, optimizer, mesh), judge(dataset, task, study["image_size"], size)
    batches = max(-(-len(cell.validation_cases) // size) for cell in cells)
    origin = {"path": study["dataset"], "sha256": dataset.manifest["sha256"]}

    def run(cell: Cell) -> CellRun:
        rows = choose(_rows(learned, cell.train_cases), _rows(learned, cell.validation_cases), size, batches)
        folder, config = workdir / "cells" / cell.name, configs[cell.name]
        hooks = {"judge": expert, "keep": study["keep"], "progress": progress}
        return CellRun(folder, config, origin, rows, task, optimizer, base=workdir, **hooks)

    ready = [cell for cell in cells if _has_start(study, cell, workdir)]
    fit(steps, arrays, _entered(map(run, ready)), mesh, caught)
    waiting = [cell for cell in cells if cell not in ready]
    for name in dict.fromkeys(_pretext(study, cell) for cell in waiting):
        train_pretext(study, name, dataset, workdir, caught)
    fit(steps, arrays, _entered(map(run, waiting)), mesh, caught)


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


def _pretext(study: Mapping[str, Any], cell: Cell) -> str:
    """The name of the pretext that a cell starts from, "" for none."""
    folder, _, name = study["starts"][cell.init]["init_from"].partition("/")
    return name if folder == PRETEXTS else ""


def _has_start(study: Mapping[str, Any], cell: Cell, workdir: Path) -> bool:
    name = _pretext(study, cell)
    return not name or (workdir / PRETEXTS / name / "DONE").is_file()


def _rows(dataset: Dataset, cases: Sequence[str]) -> np.ndarray:
    """The rows of cases in a dataset, in the order of the cases."""
    places = {str(case_id): row for row, case_id in enumerate(dataset.slices.case_id)}
    return np.array([places[case] for case in cases], np.int32)
