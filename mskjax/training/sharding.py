"""Where arrays lie: on a mesh of lanes, each of which trains one run at a time on devices of its own.

`launch.train` has one lane, whose devices split the batch; a sweep has a lane a device. States have a leading axis of
lanes, batches one of lanes and one of examples; the arrays of all examples are whole on every device.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

WHOLE, LANES, BATCHES = PartitionSpec(), PartitionSpec("lane"), PartitionSpec("lane", "batch")


def make_mesh(devices: int, batch_size: int) -> Mesh:
    """One lane of the first `devices` devices; for 0, of as many as the batch can be split over evenly.

    Raises `ValueError` where there are fewer, and where the batch would not be the same number of examples on each.
    """
    present = _present(devices)
    if batch_size < 1:
        raise ValueError(f"batch size is {batch_size}; it must be 1 or more")
    used = devices or max(n for n in range(1, len(present) + 1) if batch_size % n == 0)
    if batch_size % used:
        raise ValueError(f"batch size {batch_size} is not divisible by {used} devices; use a multiple of {used}")
    if not devices and used < len(present):
        told = (batch_size, used, len(present), len(present))
        logging.warning("batch size %d uses %d of %d devices; a multiple of %d uses all", *told)
    return _mesh(1, used)


def make_lanes(devices: int, most: int) -> Mesh:
    """A lane on each of the first `devices` devices, of all for 0, but on no more than `most` of them.

    Raises `ValueError` where there are fewer.
    """
    present = len(_present(devices))
    return _mesh(max(1, min(devices or present, most)), 1)


def whole(mesh: Mesh) -> NamedSharding:
    """The sharding of what every device holds whole."""
    return NamedSharding(mesh, WHOLE)


def stack(states: Sequence[Any], mesh: Mesh) -> Any:
    """Trees of equal shapes as one with a leading axis, the first tree on the first lane and so on."""

    def stacked(*leaves: Any) -> jax.Array:
        placed = [
            jax.device_put(leaf[None], device)
            for leaf, lane in zip(leaves, mesh.devices, strict=True)
            for device in lane.flat
        ]
        shape = (len(leaves), *leaves[0].shape)
        return jax.make_array_from_single_device_arrays(shape, NamedSharding(mesh, LANES), placed)

    return jax.tree.map(stacked, *states)


def take(states: Any, lane: int, mesh: Mesh) -> Any:
    """A copy of one lane's tree, in the host's memory but for random keys."""
    device = mesh.devices[lane].flat[0]

    def taken(leaf: jax.Array) -> Any:
        own = next(shard.data for shard in leaf.addressable_shards if shard.device == device)
        if jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return own[0]
        return np.array(own).reshape(own.shape[1:])  # a copy, as the buffer is given away to the next step

    return jax.tree.map(taken, states)


def put(states: Any, lane: int, state: Any, mesh: Mesh) -> Any:
    """The trees with one lane's replaced; those of the other lanes are not moved."""

    def replaced(leaves: jax.Array, leaf: Any) -> jax.Array:
        shards = {shard.device: shard.data for shard in leaves.addressable_shards}
        shards |= {device: jax.device_put(leaf[None], device) for device in mesh.devices[lane].flat}
        return jax.make_array_from_single_device_arrays(leaves.shape, leaves.sharding, list(shards.values()))

    return jax.tree.map(replaced, states, state)


def _present(devices: int) -> list[Any]:
    present = jax.devices()
    if not 0 <= devices <= len(present):
        raise ValueError(f"{devices} devices are asked for, but there are {len(present)}; use 0 for all of them")
    return present


def _mesh(lanes: int, devices: int) -> Mesh:
    axes, auto = ("lane", "batch"), (AxisType.Auto, AxisType.Auto)
    return jax.make_mesh((lanes, devices), axes, axis_types=auto, devices=jax.devices()[: lanes * devices])
