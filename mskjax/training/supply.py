"""What runs learn from: slices, which all lie on the devices, or volumes, of which crops are streamed to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jax.sharding import Mesh

from mskjax import tasks
from mskjax.data import batches
from mskjax.data.dataset import Dataset, read_dataset
from mskjax.data.volume_folder import Volumes, read_volumes
from mskjax.training import sharding, stream
from mskjax.training.examples import Examples, choose, of_splits, split_rows
from mskjax.training.step import Arrays
from mskjax.training.stream import Stream

Cases = Sequence[int] | np.ndarray


@runtime_checkable
class Supply(Protocol):
    """A dataset as runs of one task learn from it."""

    @property
    def arrays(self) -> Arrays:
        """What every step is given beside its batch."""
        ...

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What dataset.json says."""
        ...

    def splits(self) -> Examples:
        """The examples of a run that trains and validates on the dataset's own splits."""
        ...

    def choose(self, train: Cases, validation: Cases, least_batches: int = 0) -> Examples:
        """The examples of a run by the rows of its cases, with at least so many batches of validation."""
        ...


@dataclass(frozen=True)
class OfSlices:
    """The slices of a dataset, of which those that test are left out, or of all of it."""

    dataset: Dataset
    arrays: Arrays
    batch_size: int

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What dataset.json says."""
        return self.dataset.manifest

    def splits(self) -> Examples:
        """The training and validation slices."""
        return of_splits(self.dataset, self.batch_size)

    def choose(self, train: Cases, validation: Cases, least_batches: int = 0) -> Examples:
        """The slices at these rows."""
        return choose(train, validation, self.batch_size, least_batches)


@dataclass(frozen=True)
class OfVolumes:
    """The volumes of a dataset, and what reads a crop of one."""

    volumes: Volumes
    task: Mapping[str, Any]
    read: stream.Read
    crops_per_scan: int
    batch_size: int
    arrays: Arrays = field(default_factory=dict)

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What dataset.json says."""
        return self.volumes.manifest

    def splits(self) -> Examples:
        """Crops of the training and validation scans."""
        return self.choose(*split_rows(self.volumes))

    def choose(self, train: Cases, validation: Cases, least_batches: int = 0) -> Examples:
        """Crops of the scans at these rows; `ValueError` where one lacks the mask that the task needs."""
        rows = tuple(map(int, train)), tuple(map(int, validation))
        tasks.check_volumes(self.task, self.volumes, (*rows[0], *rows[1]))
        return Stream(self.read, *rows, self.batch_size, self.crops_per_scan, least_batches)


def of_slices(config: Mapping[str, Any], mesh: Mesh, dataset: Dataset) -> OfSlices:
    """Slices as the run of a config sees them."""
    limits_hu = tasks.limits_hu(tasks.build(config["task"]))
    return OfSlices(dataset, load(dataset, config["image_size"], mesh, limits_hu), config["batch_size"])


def of_volumes(config: Mapping[str, Any]) -> OfVolumes:
    """The volumes of the dataset that the config of a run names.

    Raises `ValueError` where it holds none, or their spacing is not the config's.
    """
    volumes = read_volumes(config["dataset"])
    check_spacing(config, volumes.spacing_mm)
    reads = stream.views if tasks.is_unlabelled(config["task"]) else stream.outlined
    read = reads(volumes, config["image_size"])
    return OfVolumes(volumes, config["task"], read, config["crops_per_scan"], config["batch_size"])


def check_spacing(config: Mapping[str, Any], spacing_mm: Sequence[float]) -> None:
    """Raises `ValueError` where the dataset of a run's or a study's config has another spacing than the config asks."""
    own, asked = tuple(map(float, spacing_mm)), tuple(map(float, config["spacing_mm"]))
    if own != asked:
        told, wanted = (" x ".join(f"{mm:g}" for mm in spacing) for spacing in (own, asked))
        raise ValueError(
            f"{config['dataset']} was prepared at {told} mm and config.spacing_mm is {wanted}; prepare it at that "
            f'spacing by launch.prepare, or set --config.spacing_mm="{own}"'
        )


def of_run(config: Mapping[str, Any], mesh: Mesh) -> Supply:
    """What the run of a config learns from, of slices without those that test.

    Raises what `of_volumes` and `tasks.check_dataset` raise.
    """
    if tasks.sees_volumes(config["task"]):
        return of_volumes(config)
    dataset = read_dataset(config["dataset"]).without_test()
    tasks.check_dataset(config["task"], dataset)
    return of_slices(config, mesh, dataset)


def of_cells(config: Mapping[str, Any], mesh: Mesh, learned: Dataset) -> Supply:
    """What the cells of a study learn from, of which `config` is one's: slices of `learned`, or the study's volumes."""
    if tasks.sees_volumes(config["task"]):
        return of_volumes(config)
    return of_slices(config, mesh, learned)


def load(dataset: Dataset, image_size: int, mesh: Mesh, limits_hu: tuple[float, float] | None = None) -> Arrays:
    """The slices of a dataset at `image_size`, all of them on every device; "label" is sarcopenia, -1 if not known.

    HU are cut to `limits_hu`, which `tasks.limits_hu` tells of a task, before they are resampled.
    """
    label = dataset.cases["sarcopenia"].fillna(-1).to_numpy(np.int32)
    fitted = batches.fit(dataset.slices, image_size, limits_hu)
    return jax.device_put({**fitted, "label": label}, sharding.whole(mesh))
