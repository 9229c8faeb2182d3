"""The work of a study's runs, and how long it takes by measured steps; upper bounds, as runs may stop early."""

import heapq
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mskjax.study.kinds import Cell, kind_of
from mskjax.study.settings import Config, plain

PRETEXT = "pretext "  # before the names of pretexts, among networks

Networks = dict[str, tuple[dict[str, Any], list[Cell]]]


@dataclass(frozen=True)
class Measured:
    """Seconds of one training step and of one validation batch of a run on one device, once compiled.

    `xla_bytes` is the step's memory by XLA's account.
    """

    device: str
    step_s: float
    validation_s: float
    xla_bytes: int


@dataclass(frozen=True)
class Work:
    """The updates of one run, or of several, and the batches that are validated in between."""

    steps: int
    validations: int

    def seconds(self, measured: Measured) -> float:
        """How long it takes on one device."""
        return self.steps * measured.step_s + self.validations * measured.validation_s


def work(training: int, validating: int, batch_size: int, epochs: int) -> Work:
    """The work of a run of `epochs` epochs on `training` slices or crops, with `validating` ones after each."""
    return Work(epochs * math.ceil(training / batch_size), epochs * math.ceil(validating / batch_size))


def works(config: Config, cells: Sequence[Cell], most: int | None = None) -> list[Work]:
    """The work of each cell if none stops early; all validate in as many batches as the largest of them needs.

    With `most` none trains longer than so many epochs.
    """
    study, validating = plain(config), max(len(cell.validation_cases) for cell in cells)
    length, crops = min(study["epochs"], most or study["epochs"]), study.get("crops_per_scan", 1)
    size = study["batch_size"]
    return [work(len(cell.train_cases) * crops, validating * crops, size, length) for cell in cells]


def networks(config: Config, cells: Sequence[Cell]) -> Networks:
    """The runs of unlike tasks, which are compiled apart: of each the config, and the cells that it stands for.

    Cells of one task are called by what they have in common, or by the first of them where others have that too, as
    with class weights by shuffle; pretexts, which stand for no cell, by their names.
    """
    kind = kind_of(config)
    runs = [(kind.run_config(config, cell), cell) for cell in cells]
    found: Networks = {}
    for run, cell in runs:
        name = next((name for name, (other, _) in found.items() if other["task"] == run["task"]), cell.name)
        found.setdefault(name, (run, []))[1].append(cell)
    called = _called([own for _, own in found.values()])
    named = dict(zip(called, found.values(), strict=True))
    return named | {f"{PRETEXT}{name}": (kind.pretext_config(config, name), []) for name in kind.pretexts(config)}


def estimate_s(works: Iterable[Work], measured: Measured, devices: int = 1) -> float:
    """The seconds until the last cell ends when each device, as soon as it is free, takes the next cell in order.

    The little that cells of unlike n wait for each other at the ends of epochs is not counted.
    """
    free_s = [0.0] * devices
    for one in works:
        heapq.heapreplace(free_s, free_s[0] + one.seconds(measured))
    return max(free_s)


def _called(groups: Sequence[Sequence[Cell]]) -> list[str]:
    """A name for each group of cells, no two alike."""
    if len(groups) == 1:
        return ["cells"]
    shared = [" ".join(dict.fromkeys([cells[0].row, *(cell.column for cell in cells)])) for cells in groups]
    alike = Counter(shared)
    first = [cells[0].name + f" and {len(cells) - 1} more" * (len(cells) > 1) for cells in groups]
    return [name if alike[name] == 1 else own for name, own in zip(shared, first, strict=True)]
