"""Where arrays lie: the batch is split over all devices of a one-axis mesh, everything else is on each of them."""

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec


def make_mesh(devices: int = 0) -> Mesh:
    """The mesh of the first `devices` devices, 0 for all of them; `ValueError` if there are fewer."""
    present = jax.devices()
    if not 0 <= devices <= len(present):
        raise ValueError(f"{devices} devices are asked for, but there are {len(present)}; use 0 for all of them")
    used = present[: devices or None]
    return jax.make_mesh((len(used),), ("batch",), axis_types=(AxisType.Auto,), devices=used)


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of what every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def batched(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays whose first axis is the batch."""
    return NamedSharding(mesh, PartitionSpec("batch"))


def check_batch_size(batch_size: int, mesh: Mesh) -> None:
    """Raises `ValueError` unless the batch is the same number of examples on every device."""
    if batch_size < 1 or batch_size % mesh.size:
        raise ValueError(
            f"batch size {batch_size} is not divisible by {mesh.size} devices; use a multiple of {mesh.size}, "
            "or fewer devices with --config.devices"
        )
