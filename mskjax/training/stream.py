"""Crops of volumes, read while the devices compute: the examples of runs that see in three dimensions.

Which crops make up a batch is a function of the seed and the step alone, so that a resumed run reads the very same ones
and nothing has to be remembered. Several processes read a part of each batch each. Grain's threads read ahead; there
are no processes to die.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float32

from mskjax.data import batches, crops
from mskjax.data.volume_folder import Volumes
from mskjax.training.team import ALONE, Team

THREADS = 4  # that read batches
AHEAD = 4  # batches that are read before they are asked for
ENDLESS = 2**62  # crops of a training: no epoch reaches it
_TRAIN, _VALIDATION = 8, 9  # lead the entropy of crops, as other streams of random numbers have others

Example = dict[str, np.ndarray]
Read = Callable[[int, np.random.Generator], Example]


@dataclass
class Stream:
    """Crops of the volumes at rows `train` and `validation`, `crops_per_scan` of each in a pass; `read` makes one.

    A batch is `batch_size` crops, of which this process reads its part, as one of a team.
    """

    read: Read
    train: tuple[int, ...]
    validation: tuple[int, ...]
    batch_size: int
    crops_per_scan: int = 1
    least_validation_batches: int = 0
    team: Team = ALONE
    _ahead: "_Ahead | None" = field(default=None, init=False, repr=False)

    def __post_init__(self):
        self.team.part(self.batch_size)

    @property
    def counts(self) -> tuple[int, int]:
        """How many scans train, and how many validate."""
        return len(self.train), len(self.validation)

    @property
    def steps_per_epoch(self) -> int:
        """How many batches an epoch has: `crops_per_scan` of every scan, at least."""
        return math.ceil(len(self.train) * self.crops_per_scan / self.batch_size)

    @property
    def validation_batches(self) -> int:
        """How many batches validate after an epoch."""
        return max(
            self.least_validation_batches, math.ceil(len(self.validation) * self.crops_per_scan / self.batch_size)
        )

    def batch(self, seed: int, step: int) -> Example:
        """This process's part of what step number `step`, from 0, trains on."""
        if self._ahead is None or (self._ahead.seed, self._ahead.step) != (seed, step):
            self.close()
            own = replace(self)  # a copy: threads that held what holds them would outlive it
            self._ahead = _Ahead(partial(own.crop, seed), own._slots, seed, step)
        return self._ahead.next()

    def close(self) -> None:
        """Gives up the batches that were read ahead, and the threads that read them."""
        if self._ahead is not None:
            self._ahead.close()
            self._ahead = None

    def crop(self, seed: int, number: int) -> Example:
        """The training crop at a place in the endless order of all, in which those of a scan follow each other."""
        scan = batches.indices(seed, len(self.train), 1, number // self.crops_per_scan)[0]
        return self.read(self.train[scan], np.random.default_rng((_TRAIN, seed, number)))

    def validation_batch(self, number: int) -> tuple[Example, Float32[np.ndarray, " b"]]:
        """This process's part of a batch that validates, the same crops in every epoch of every run, and weights."""
        total = len(self.validation) * self.crops_per_scan
        places = [place if place < total else 0 for place in self._slots(number)]
        weights = np.array([place < total for place in self._slots(number)], np.float32)
        return _stack([self._validation_crop(place) for place in places]), weights

    def _validation_crop(self, place: int) -> Example:
        row = self.validation[place // self.crops_per_scan]
        return self.read(row, np.random.default_rng((_VALIDATION, row, place % self.crops_per_scan)))

    def _slots(self, number: int) -> range:
        """The places in the order of all crops that are this process's part of batch `number`."""
        return range(number * self.batch_size, (number + 1) * self.batch_size)[self.team.part(self.batch_size)]


class _Ahead:
    """The batches from a step on, read ahead by grain's threads."""

    def __init__(self, crop: Callable[[int], Example], slots: Callable[[int], range], seed: int, step: int):
        # Imported here: it takes longer than all the rest, and who trains on slices has no use for it.
        import grain

        self.seed, self.step = seed, step
        own = len(slots(0))
        source = grain.MapDataset.range(step * own, ENDLESS).map(lambda n: crop(slots(n // own)[n % own]))
        options = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=AHEAD)
        self._batches: Any = iter(source.batch(own, batch_fn=_stack).to_iter_dataset(options))

    def next(self) -> Example:
        self.step += 1
        return next(self._batches)

    def close(self) -> None:
        self._batches.close()


def _stack(examples: Sequence[Example]) -> Example:
    return {name: np.stack([example[name] for example in examples]) for name in examples[0]}


def views(volumes: Volumes, side: int) -> Read:
    """What reads two views of a scan, to learn from without outlines."""

    def read(row: int, rng: np.random.Generator) -> Example:
        return {"image_hu": crops.views(volumes.image(row), side, rng)}

    return read


def outlined(volumes: Volumes, side: int) -> Read:
    """What reads a crop through an outlined plane, with its labels and spacing."""
    spacing_mm = np.array(volumes.spacing_mm, np.float32)

    def read(row: int, rng: np.random.Generator) -> Example:
        image_hu, label = crops.outlined(volumes.image(row), *volumes.label(row), side, rng)
        return {"image_hu": image_hu, "label": label, "spacing_mm": spacing_mm}

    return read
