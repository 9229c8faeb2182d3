"""Where arrays lie: on a mesh of lanes, each of which trains one run at a time on devices of its own.

`launch.train` has one lane, whose devices, of one process or of several, split the batch; a sweep has a lane a device.
States have a leading axis of lanes, batches one of lanes and one of examples; the arrays of all examples are whole on
every device. A process makes and reads only what lies on its own devices.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from mskjax.training.team import Team

Index = tuple[slice, ...]
WHOLE, LANES, BATCHES = PartitionSpec(), PartitionSpec("lane"), PartitionSpec("lane", "batch")


def make_mesh(devices: int, batch_size: int, together: bool = False) -> Mesh:
    """One lane of `devices` devices; for 0, of as many as the batch can be split over evenly.

    They are this process's, or `together` as many of each process, `devices` of all. Raises `ValueError` where there
    are fewer, and where the batch would not be the same number of examples on each.
    """
    groups = _groups(together)
    teams, present = len(groups), min(map(len, groups)) * len(groups)
    _check_present(devices, present)
    if batch_size < 1:
        raise ValueError(f"batch size is {batch_size}; it must be 1 or more")
    Team(count=teams).part(batch_size)
    used = devices or max(n for n in range(teams, present + 1, teams) if batch_size % n == 0)
    if used % teams:
        raise ValueError(f"{used} devices cannot be as many of each of {teams} processes; use a multiple of {teams}")
    if batch_size % used:
        raise ValueError(f"batch size {batch_size} is not divisible by {used} devices; use a multiple of {used}")
    if not devices and used < present:
        logging.warning(
            "batch size %d uses %d of %d devices; a multiple of %d uses all", batch_size, used, present, present
        )
    return _mesh([[device for group in groups for device in group[: used // teams]]])


def make_lanes(devices: int, most: int) -> Mesh:
    """A lane on each of this process's first `devices` devices, of all for 0, but on no more than `most` of them.

    Raises `ValueError` where there are fewer.
    """
    present = jax.local_devices()
    _check_present(devices, len(present))
    return _mesh([[device] for device in present[: max(1, min(devices or len(present), most))]])


def team(mesh: Mesh) -> Team:
    """The processes whose devices a mesh has."""
    numbers = sorted({device.process_index for device in mesh.devices.flat})
    return Team(numbers.index(jax.process_index()), len(numbers))


def whole(mesh: Mesh) -> NamedSharding:
    """The sharding of what every device holds whole."""
    return NamedSharding(mesh, WHOLE)


def share(arrays: Any, mesh: Mesh) -> Any:
    """A tree of arrays, the same in all processes, whole on every device."""
    return jax.tree.map(lambda leaf: _placed(leaf.shape, whole(mesh), lambda index: np.asarray(leaf)), arrays)


def own_part(batches: Any, mesh: Mesh, spec: PartitionSpec = BATCHES) -> Any:
    """A tree of this process's part of some arrays, as an argument of a function that is compiled for the mesh."""
    if team(mesh).count == 1:
        return batches  # as they are, which is quicker
    sharding = NamedSharding(mesh, spec)
    return jax.tree.map(lambda leaf: jax.make_array_from_process_local_data(sharding, np.asarray(leaf)), batches)


def split_above(leaf: Any, mesh: Mesh, elements: int) -> PartitionSpec:
    """How a leaf of a run's state lies on the devices of a lane: split, from so many `elements` on, else whole.

    It is split over its longest axis that divides evenly; for 0 elements nothing is. The axis of lanes is not among
    those of the leaf.
    """
    devices = mesh.shape["batch"]
    axes = [axis for axis, length in enumerate(leaf.shape) if length % devices == 0]
    if not elements or math.prod(leaf.shape) < elements or not axes:
        return WHOLE
    longest = max(axes, key=lambda axis: leaf.shape[axis])
    return PartitionSpec(*("batch" if axis == longest else None for axis in range(longest + 1)))


def stack(states: Sequence[Any], mesh: Mesh, split_from: int = 0) -> Any:
    """Trees of equal shapes as one with a leading axis, the first tree on the first lane and so on.

    Leaves of `split_from` elements and more are split over the devices of their lane, unless it is 0.
    """

    def stacked(*leaves: Any) -> jax.Array:
        spec = PartitionSpec("lane", *split_above(leaves[0], mesh, split_from))
        shape = (len(leaves), *leaves[0].shape)
        return _placed(shape, NamedSharding(mesh, spec), lambda index: _part(leaves[index[0].start or 0], index))

    return jax.tree.map(stacked, *states)


def take(states: Any, lane: int, mesh: Mesh) -> Any:
    """A copy of one lane's tree, in the host's memory but for random keys; all processes of the lane are to ask."""
    devices = set(mesh.devices[lane].flat)

    def taken(leaf: jax.Array) -> Any:
        own = next(shard.data for shard in leaf.addressable_shards if shard.device in devices)
        if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return own[0]
        if own.shape[1:] != leaf.shape[1:]:
            return np.array(multihost_utils.process_allgather(leaf, tiled=True))[0]
        return np.array(own).reshape(own.shape[1:])  # a copy, as the buffer is given away to the next step

    return jax.tree.map(taken, states)


def put(states: Any, lane: int, state: Any, mesh: Mesh) -> Any:
    """The trees with one lane's replaced; those of the other lanes are not moved."""

    devices = set(mesh.devices[lane].flat)

    def replaced(leaves: jax.Array, leaf: Any) -> jax.Array:
        shards = {shard.device: shard.data for shard in leaves.addressable_shards}
        indices: Any = leaves.sharding.addressable_devices_indices_map(leaves.shape)
        own = {device: index for device, index in indices.items() if device in devices}
        shards |= {device: _copied(_part(leaf, index), device) for device, index in own.items()}
        return jax.make_array_from_single_device_arrays(leaves.shape, leaves.sharding, list(shards.values()))

    return jax.tree.map(replaced, states, state)


def _placed(shape: tuple[int, ...], sharding: NamedSharding, part: Callable[[Index], Any]) -> jax.Array:
    """The array of which `part` gives what lies at an index, put on this process's devices."""
    indices: Any = sharding.addressable_devices_indices_map(shape)
    parts = [_copied(part(index), device) for device, index in indices.items()]
    return jax.make_array_from_single_device_arrays(shape, sharding, parts)


def _part(leaf: Any, index: Index) -> Any:
    """What lies at an index, of which the first number is the lane, of the leaf of this lane."""
    if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return leaf[None]  # never split
    return np.asarray(leaf)[index[1:]][None]


def _copied(leaf: Any, device: Any) -> jax.Array:
    # Never the host's own memory, which a step that is given the array would write over.
    return jax.device_put(leaf, device, may_alias=False)


def _groups(together: bool) -> list[list[Any]]:
    """The devices of each process, or of this one alone."""
    if not together:
        return [jax.local_devices()]
    numbers = sorted({device.process_index for device in jax.devices()})
    return [[device for device in jax.devices() if device.process_index == number] for number in numbers]


def _check_present(devices: int, present: int) -> None:
    if not 0 <= devices <= present:
        raise ValueError(f"{devices} devices are asked for, but there are {present}; use 0 for all of them")


def _mesh(devices: list[list[Any]]) -> Mesh:
    return Mesh(np.array(devices), ("lane", "batch"), axis_types=(AxisType.Auto, AxisType.Auto))
