"""What a study will take, before it is run: cells, parameters, updates, memory, disk and, from measured steps, time.

Numbers of updates are upper bounds, as runs may stop early; memory and time are estimates and are called so.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mskjax.data.dataset import Dataset
from mskjax.data.splits import counted
from mskjax.study import memory
from mskjax.study.estimates import Measured, Networks, Work, estimate_s, networks, work, works
from mskjax.study.kinds import Cell, axes, kind_of
from mskjax.study.memory import Memory
from mskjax.study.settings import Config, plain
from mskjax.study.text import duration, size, table
from mskjax.training.checkpoint import KEPT

NOT_MEASURED = "Time, and the compiled steps' memory by XLA's account: not measured"
SHORTER_EPOCHS = 200  # after which runs might stop; a second block of the estimate


def account(
    config: Config,
    cells: Sequence[Cell],
    dataset: Dataset,
    measure: Callable[[Networks], Mapping[str, Measured]] | None = None,
    devices: int = 1,
) -> Iterator[str]:
    """The account as paragraphs, each as soon as it is known: cells, networks, memory, disk, the notes on the cohort.

    Last comes time, for which `measure` then measures all of `networks`; without it none is told. `devices` train side
    by side.
    """
    study, slices, kind = plain(config), len(dataset.slices), kind_of(config)
    runs = networks(study, cells)
    yield _cells(kind.factors(study), cells, works(study, cells))
    memories = {name: memory.of_run(run, slices) for name, (run, _) in runs.items()}
    of_pretexts = tuple(map(len, kind.pretext_split(dataset.cases, study))) if kind.pretexts(study) else ()
    yield _networks(runs, memories, of_pretexts)
    yield _memory(runs, memories)
    yield _disk(study, runs, dataset, memories, devices)
    if notes := kind.notes(dataset.cases, study):
        yield "\n".join(f"Note: {note}" for note in notes)
    yield _time(study, runs, of_pretexts, measure(runs), devices) if measure else NOT_MEASURED


def _cells(factors: Sequence[tuple[int, str]], cells: Sequence[Cell], works: Sequence[Work]) -> str:
    names, columns = axes(cells)
    number = Counter((cell.row, cell.column) for cell in cells)
    longest = {
        name: max((one for cell, one in zip(cells, works, strict=True) if cell.column == name), key=lambda w: w.steps)
        for name in columns
    }
    rows = [
        ["", *columns, "all"],
        *([name, *(number[name, column] for column in columns), _sum(number, name, 0)] for name in names),
        ["all", *(_sum(number, column, 1) for column in columns), len(cells)],
        _at_most("training steps of a cell", [one.steps for one in longest.values()], [one.steps for one in works]),
        _at_most(
            "validation batches of a cell",
            [one.validations for one in longest.values()],
            [one.validations for one in works],
        ),
    ]
    product = " x ".join(counted(*factor) for factor in factors)
    return f"{counted(len(cells), 'cell')}: {product}\n{table(rows)}\nfolders: cells/{_braces(cells)}"


def _sum(number: Mapping[tuple[str, str], int], name: str, axis: int) -> int:
    return sum(count for key, count in number.items() if key[axis] == name)


def _braces(cells: Sequence[Cell]) -> str:
    """The cells' names as a shell writes them: {random,jigsaw}_n{005,020}_fold0_draw0_seed0."""
    names = [(cell.row, *cell.name.removeprefix(f"{cell.row}_").split("_")) for cell in cells]
    parts = [list(dict.fromkeys(part)) for part in zip(*names, strict=True)]
    return "_".join(part[0] if len(part) == 1 else _alternatives(part) for part in parts)


def _alternatives(words: list[str]) -> str:
    return f"{{{','.join(sorted(words))}}}"


def _at_most(label: str, of_a_cell: Sequence[int], of_cells: Sequence[int]) -> list[str]:
    return [f"{label}, at most; sum", *(f"{number:,}" for number in of_a_cell), f"{sum(of_cells):,}"]


def _networks(runs: Networks, memories: Mapping[str, Memory], of_pretexts: tuple[int, ...]) -> str:
    """The networks, and the pretexts' updates."""
    rows = [["", "parameters", "batch", "training steps, at most"]]
    for name, (run, cells) in runs.items():
        steps = "see above" if cells else f"{work(of_pretexts[0], 0, run['batch_size'], run['epochs']).steps:,}"
        rows.append([name, f"{memories[name].parameters:,}", run["batch_size"], steps])
    told = ""
    if of_pretexts:
        told = f"; pretexts train on {counted(of_pretexts[0], 'slice')} and validate on {of_pretexts[1]}"
    return f"Networks{told}\n{table(rows)}"


def _memory(runs: Networks, memories: Mapping[str, Memory]) -> str:
    parts = ("state", "gradients", "activations", "examples", "total")
    rows = [["", "computing in", *parts]]
    for name, own in memories.items():
        dtype = runs[name][0]["task"]["model"].get("dtype", "float32")
        rows.append([name, dtype, *(size(getattr(own, part)) for part in parts)])
    return (
        "Memory of a device, estimated; the state is weights, best weights and Adam's moments, "
        f"activations are what the derivative stores\n{table(rows)}"
    )


def _disk(
    study: Mapping[str, Any], runs: Networks, dataset: Dataset, memories: Mapping[str, Memory], devices: int
) -> str:
    of_cells = [(memories[name], len(cells)) for name, (_, cells) in runs.items() if cells]
    count, largest = sum(number for _, number in of_cells), max(own.state for own, _ in of_cells)
    pixels = dict(zip(dataset.cases["case_id"], dataset.slices.shape.astype(np.int64).prod(axis=1), strict=True))
    masks = [
        math.ceil(pixels[case_id] / 8)  # eight pixels a byte
        for _, cells in runs.values()
        for cell in cells
        for case_id in kind_of(study).masks(dataset.cases, cell)
    ]
    best = sum(number * own.weights for own, number in of_cells)
    parts = {
        f"best weights of {counted(count, 'cell')}": best * (study["keep"] == "weights"),
        f"{counted(len(masks), 'mask')} of judged slices, at most": sum(masks),
        "best weights of the pretexts": sum(memories[name].weights for name, (_, cells) in runs.items() if not cells),
        # One more than are kept, while it is being written.
        f"checkpoints of {counted(devices, 'running cell')}": (KEPT + 1) * devices * largest,
    }
    rows = [*((label, number) for label, number in parts.items() if number), ("together", sum(parts.values()))]
    return f"Disk, with config.keep={study['keep']}\n{table([[label, size(number)] for label, number in rows])}"


def _time(
    study: Mapping[str, Any],
    runs: Networks,
    of_pretexts: tuple[int, ...],
    measured: Mapping[str, Measured],
    devices: int,
) -> str:
    numbers, epochs = sorted({1, devices}), study["epochs"]
    rows = [["", *(counted(number, "device") for number in numbers)]]
    for length in sorted({epochs, min(epochs, SHORTER_EPOCHS)}, reverse=True):
        when = f"if none stops before epoch {epochs}" if length == epochs else f"if all stop at epoch {length}"
        seconds = [_seconds(study, runs, of_pretexts, measured, number, length) for number in numbers]
        shown = {"cells": [of_cells for of_cells, _ in seconds]}
        if of_pretexts:
            shown = {"pretexts": [own for _, own in seconds], **shown, "together": [sum(both) for both in seconds]}
        rows += [[f"{name}, {when}", *map(duration, values)] for name, values in shown.items()]
    return f"Time, estimated from steps that were measured here\n{_measured(measured)}\n{table(rows)}"


def _measured(measured: Mapping[str, Measured]) -> str:
    rows = [["", "a training step", "its memory by XLA's account", "a validation batch", "on"]]
    for name, one in measured.items():
        rows.append([name, f"{one.step_s:.3g} s", size(one.xla_bytes), f"{one.validation_s:.3g} s", one.device])
    return table(rows)


def _seconds(
    study: Mapping[str, Any],
    runs: Networks,
    of_pretexts: tuple[int, ...],
    measured: Mapping[str, Measured],
    devices: int,
    most: int,
) -> tuple[float, float]:
    """The seconds of the cells, task after task, and of the pretexts, whose batches all devices share evenly."""
    of_cells = of_others = 0.0
    for name, (run, cells) in runs.items():
        if cells:
            of_cells += estimate_s(works(study, cells, most), measured[name], devices)
        else:
            batch = run["batch_size"]
            share = max(number for number in range(1, devices + 1) if batch % number == 0)
            own = work(of_pretexts[0], of_pretexts[1], batch, min(run["epochs"], most))
            of_others += own.seconds(measured[name]) / share
    return of_cells, of_others
