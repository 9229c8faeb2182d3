"""What a study will take, before it is run: cells, parameters, updates, memory, disk and, from a measured step, time.

Numbers of updates are upper bounds, as runs may stop early; memory and time are estimates and are called so.
"""

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mskjax.data.dataset import Dataset
from mskjax.data.splits import counted
from mskjax.study import memory
from mskjax.study.data_efficiency import Cell, Config, notes, plain, pretext_config, pretext_split, pretexts, run_config
from mskjax.study.memory import Memory
from mskjax.study.text import duration, size, table
from mskjax.training.checkpoint import KEPT

SHORTER_EPOCHS = 200  # after which cells might stop; a second line of the estimate
CELLS = "cells"  # a column beside those of the pretexts


@dataclass(frozen=True)
class Measured:
    """Seconds of one training step and of one validation batch of a cell on one device, once compiled."""

    device: str
    step_s: float
    validation_s: float


@dataclass(frozen=True)
class Work:
    """The updates of one run, or of several, and the batches that are validated in between."""

    steps: int
    validations: int

    def seconds(self, measured: Measured) -> float:
        """How long it takes on one device."""
        return self.steps * measured.step_s + self.validations * measured.validation_s


def work(training: int, validating: int, batch_size: int, epochs: int) -> Work:
    """The work of a run of `epochs` epochs on `training` slices, with `validating` slices after each."""
    return Work(epochs * math.ceil(training / batch_size), epochs * math.ceil(validating / batch_size))


def works(config: Config, cells: Sequence[Cell], epochs: int | None = None) -> list[Work]:
    """The work of each cell if none stops early; all validate in as many batches as the largest fold needs.

    `epochs` is that of the config where it is not given.
    """
    study, validating = plain(config), max(len(cell.validation_cases) for cell in cells)
    length = epochs or study["epochs"]
    return [work(len(cell.train_cases), validating, study["batch_size"], length) for cell in cells]


def estimate_s(works: Iterable[Work], measured: Measured, devices: int = 1) -> float:
    """The seconds until the last cell ends when each device, as soon as it is free, takes the next cell in order.

    The little that cells of unlike n wait for each other at the ends of epochs is not counted.
    """
    free_s = [0.0] * devices
    for one in works:
        heapq.heapreplace(free_s, free_s[0] + one.seconds(measured))
    return max(free_s)


def account(
    config: Config,
    cells: Sequence[Cell],
    dataset: Dataset,
    measured: Measured | None = None,
    devices: int = 1,
    xla: bool = False,
) -> str:
    """The account as text, a paragraph each for cells, networks, memory, disk and time, and the notes on the cohort.

    `devices` train side by side. Without `measured` no time is told. `xla` adds XLA's own account of a cell's compiled
    training step, which takes minutes at full size on a CPU.
    """
    study, slices = plain(config), len(dataset.slices)
    runs = {CELLS: run_config(config, cells[0])} | {name: pretext_config(config, name) for name in pretexts(config)}
    memories = {name: memory.of_run(run, slices) for name, run in runs.items()}
    by_xla = memory.by_xla(runs[CELLS], slices) if xla else None
    paragraphs = [
        _cells(study, cells, works(config, cells)),
        _pretexts(runs, memories, pretext_split(dataset.cases, config)),
        _memory(study["task"]["model"]["dtype"], memories, by_xla),
        _disk(study, cells, dataset, memories, devices),
        _time(config, cells, measured, devices),
        "\n".join(f"Note: {note}" for note in notes(dataset.cases, config)),
    ]
    return "\n\n".join(filter(None, paragraphs)) + "\n"


def _cells(study: Mapping[str, Any], cells: Sequence[Cell], works: Sequence[Work]) -> str:
    inits, sizes = study["inits"], study["sizes"]
    factors = [(len(inits), "initialisation"), (len(sizes), "size")]
    factors += [(study[f"{name}s"], name) for name in ("fold", "draw", "seed")]
    number = Counter((cell.init, cell.n) for cell in cells)
    of_init, of_n = Counter(cell.init for cell in cells), Counter(cell.n for cell in cells)
    longest = {n: max((w for c, w in zip(cells, works, strict=True) if c.n == n), key=lambda w: w.steps) for n in sizes}
    rows = [
        ["", *(f"n={n}" for n in sizes), "all"],
        *([init, *(number[init, n] for n in sizes), of_init[init]] for init in inits),
        ["all", *(of_n[n] for n in sizes), len(cells)],
        _at_most("training steps", [longest[n].steps for n in sizes], sum(one.steps for one in works)),
        _at_most("validation batches", [longest[n].validations for n in sizes], sum(one.validations for one in works)),
    ]
    return f"{counted(len(cells), 'cell')}: {' x '.join(counted(*factor) for factor in factors)}\n{table(rows)}"


def _at_most(label: str, of_a_cell: Sequence[int], of_all: int) -> list[str]:
    return [f"{label} of a cell, at most; sum", *(f"{number:,}" for number in of_a_cell), f"{of_all:,}"]


def _pretexts(
    runs: Mapping[str, Any], memories: Mapping[str, Memory], split: tuple[tuple[str, ...], tuple[str, ...]]
) -> str:
    """The networks, and the pretexts' updates."""
    train, validation = map(len, split)
    rows = [["", "parameters", "batch", "training steps, at most"]]
    for name, run in runs.items():
        steps = "see above" if name == CELLS else f"{work(train, 0, run['batch_size'], run['epochs']).steps:,}"
        rows.append([name, f"{memories[name].parameters:,}", run["batch_size"], steps])
    told = f"; pretexts train on {counted(train, 'slice')} and validate on {validation}" if len(runs) > 1 else ""
    return f"Networks{told}\n{table(rows)}"


def _memory(dtype: str, memories: Mapping[str, Memory], by_xla: int | None) -> str:
    parts = {
        "weights, best weights, Adam's moments": "state",
        "gradients": "gradients",
        "activations that the derivative stores": "activations",
        "slices of the dataset": "examples",
        "together": "total",
    }
    rows = [["", *memories]]
    rows += [[label, *(size(getattr(one, part)) for one in memories.values())] for label, part in parts.items()]
    if by_xla is not None:
        rows.append(["XLA's own account of the compiled step", size(by_xla), *[""] * (len(memories) - 1)])
    return f"Memory of a device, estimated, computing in {dtype}\n{table(rows)}"


def _disk(
    study: Mapping[str, Any], cells: Sequence[Cell], dataset: Dataset, memories: Mapping[str, Memory], devices: int
) -> str:
    cell, test = memories[CELLS], dataset.rows("test")
    pixels = int(dataset.slices.shape[test].astype(np.int64).prod(axis=1).sum())
    parts = {
        f"best weights of {counted(len(cells), 'cell')}": len(cells) * cell.weights * (study["keep"] == "weights"),
        f"their masks of {counted(len(test), 'test slice')}, at most": len(cells) * math.ceil(pixels / 8),
        "best weights of the pretexts": sum(one.weights for name, one in memories.items() if name != CELLS),
        # One more than are kept, while it is being written.
        f"checkpoints of {counted(devices, 'running cell')}": (KEPT + 1) * devices * cell.state,
    }
    rows = [*parts.items(), ("together", sum(parts.values()))]
    return f"Disk, with config.keep={study['keep']}\n{table([[label, size(number)] for label, number in rows])}"


def _time(config: Config, cells: Sequence[Cell], measured: Measured | None, devices: int) -> str:
    if measured is None:
        return "Time: not estimated, as no step was measured"
    epochs, numbers = plain(config)["epochs"], sorted({1, devices})
    rows = [["", *(counted(number, "device") for number in numbers)]]
    for length in sorted({epochs, min(epochs, SHORTER_EPOCHS)}, reverse=True):
        label = f"if no cell stops before epoch {epochs}" if length == epochs else f"if all stop at epoch {length}"
        seconds = [estimate_s(works(config, cells, length), measured, number) for number in numbers]
        rows.append([label, *map(duration, seconds)])
    return (
        f"Time of the cells, without the pretexts, estimated from {measured.step_s:.3g} s a training step and "
        f"{measured.validation_s:.3g} s a validation batch on {measured.device}\n{table(rows)}"
    )
