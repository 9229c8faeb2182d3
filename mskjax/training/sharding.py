"""Where arrays lie: the batch is split over all devices of a one-axis mesh, everything else is on each of them."""

import jax
from absl import logging
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def make_mesh(devices: int, batch_size: int) -> Mesh:
    """The mesh of the first `devices` devices; for 0, of as many as the batch can be split over evenly.

    Raises `ValueError` where there are fewer, and where the batch would not be the same number of examples on each.
    """
    present = jax.devices()
    if not 0 <= devices <= len(present):
        raise ValueError(f"{devices} devices are asked for, but there are {len(present)}; use 0 for all of them")
    if batch_size < 1:
        raise ValueError(f"batch size is {batch_size}; it must be 1 or more")
    used = devices or max(n for n in range(1, len(present) + 1) if batch_size % n == 0)
    if batch_size % used:
        raise ValueError(f"batch size {batch_size} is not divisible by {used} devices; use a multiple of {used}")
    if not devices and used < len(present):
        told = (batch_size, used, len(present), len(present))
        logging.warning("batch size %d uses %d of %d devices; a multiple of %d uses all", *told)
    return jax.make_mesh((used,), ("batch",), axis_types=(AxisType.Auto,), devices=present[:used])


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def batched(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays whose first axis is the batch."""
    return NamedSharding(mesh, PartitionSpec("batch"))
