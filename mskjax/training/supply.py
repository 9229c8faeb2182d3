"""What runs learn from: slices, which all lie on the devices, or volumes, of which crops are streamed to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from mskjax.training.team import ALONE, Team

Cases = Sequence[int] | np.ndarray
Shapes = Mapping[str, jax.ShapeDtypeStruct]


@runtime_checkable
class Supply(Protocol):
    """A dataset as runs of one task learn from it."""

    def load(self) -> Arrays:
        """Reads what every step is given beside its batch, onto the devices."""
        ...

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What dataset.json says."""
        ...

    def shapes(self, task: Any) -> tuple[Shapes, Any]:
        """The shapes and types of what `load` gives, and of a batch of all processes."""
        ...

    def splits(self) -> Examples:
        """The examples of a run that trains and validates on the dataset's own splits."""
        ...

    def choose(self, train: Cases, validation: Cases, least_batches: int = 0) -> Examples:
        """The examples of a run by the rows of its cases, with at least so many batches of validation."""
        ...


@dataclass(frozen=True)
class OfSlices:
    """The slices of a dataset, of which those that test are left out, or of all of it, as a task's network sees them.

    They are resampled to `image_size` as they are loaded onto the devices of the mesh. Before, HU are cut to
    `limits_hu`, which `tasks.limits_hu` tells of a task.
    """

    dataset: Dataset
    image_size: int
    batch_size: int
    mesh: Mesh
    limits_hu: tuple[float, float] | None = None

    def load(self) -> Arrays:
        """The slices, all of them on every device; "label" is sarcopenia, -1 if not known."""
        label = self.dataset.cases["sarcopenia"].fillna(-1).to_numpy(np.int32)
        fitted = batches.fit(self.dataset.slices, self.image_size, self.limits_hu)
        return sharding.share({**fitted, "label": label}, self.mesh)

    def shapes(self, task: Any) -> tuple[Shapes, Any]:
        """The shapes and types of the slices, known before they are loaded, and of a batch of rows."""
        rows = jax.ShapeDtypeStruct((self.batch_size,), np.int32)
        return tasks.examples(task, len(self.dataset.slices), self.image_size), rows

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What dataset.json says."""
        return self.dataset.manifest

    def splits(self) -> Examples:
        """The training and validation slices."""
        return of_splits(self.dataset, self.batch_size, sharding.team(self.mesh))

    def choose(self, train: Cases, validation: Cases, least_batches: int = 0) -> Examples:
        """The slices at these rows."""
        return choose(train, validation, self.batch_size, least_batches, sharding.team(self.mesh))


@dataclass(frozen=True)
class OfVolumes:
    """The volumes of a dataset, and what reads a crop of one."""

    volumes: Volumes
    task: Mapping[str, Any]
    read: stream.Read
    crops_per_scan: int
    image_size: int
    batch_size: int
    team: Team = ALONE

    @property
    def manifest(self) -> Mapping[str, Any]:
        """What dataset.json says."""
        return self.volumes.manifest

    def load(self) -> Arrays:
        """Nothing: batches hold the crops themselves."""
        return {}

    def shapes(self, task: Any) -> tuple[Shapes, Any]:
        """Nothing that all steps are given, and the shapes and types of a batch of crops."""
        return {}, tasks.examples(task, self.batch_size, self.image_size)

    def splits(self) -> Examples:
        """Crops of the training and validation scans."""
        return self.choose(*split_rows(self.volumes))

    def choose(self, train: Cases, validation: Cases, least_batches: int = 0) -> Examples:
        """Crops of the scans at these rows; `ValueError` where one lacks the mask that the task needs."""
        rows = tuple(map(int, train)), tuple(map(int, validation))
        tasks.check_volumes(self.task, self.volumes, (*rows[0], *rows[1]))
        return Stream(self.read, *rows, self.batch_size, self.crops_per_scan, least_batches, self.team)


def of_slices(config: Mapping[str, Any], mesh: Mesh, dataset: Dataset) -> OfSlices:
    """Slices as the run of a config sees them."""
    limits_hu = tasks.limits_hu(tasks.build(config["task"]))
    return OfSlices(dataset, config["image_size"], config["batch_size"], mesh, limits_hu)


def of_volumes(config: Mapping[str, Any], team: Team = ALONE) -> OfVolumes:
    """The volumes of the dataset that the config of a run names, for a team that shares its batches.

    Raises `ValueError` where it holds none, or their spacing is not the config's.
    """
    volumes = read_volumes(config["dataset"])
    check_spacing(config, volumes.spacing_mm)
    reads = stream.views if tasks.is_unlabelled(config["task"]) else stream.outlined
    read = reads(volumes, config["image_size"])
    crops, size, batch = (config[name] for name in ("crops_per_scan", "image_size", "batch_size"))
    return OfVolumes(volumes, config["task"], read, crops, size, batch, team)


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
        return of_volumes(config, sharding.team(mesh))
    dataset = read_dataset(config["dataset"]).without_test()
    tasks.check_dataset(config["task"], dataset)
    return of_slices(config, mesh, dataset)


def of_cells(config: Mapping[str, Any], mesh: Mesh, learned: Dataset) -> Supply:
    """What the cells of a study learn from, of which `config` is one's: slices of `learned`, or the study's volumes."""
    if tasks.sees_volumes(config["task"]):
        return of_volumes(config, sharding.team(mesh))
    return of_slices(config, mesh, learned)
