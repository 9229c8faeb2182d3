"""What the processes of a run must know alike: whether a signal has come to any of them, and what is due in the first.

Each does the same at the same step then. They ask in a small sum that is queued beside the updates, and no device is
waited for: the answer is that of the update before the last ones that are still under way.
"""

from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mskjax.training import sharding


class Agreement:
    """Hears of `count` numbers the largest of all processes, `behind` rounds late; a process alone hears itself."""

    def __init__(self, mesh: Mesh, count: int, behind: int):
        self._mesh, self._count, self._behind = mesh, count, behind
        self._alone = sharding.team(mesh).count == 1
        self._asked: deque[jax.Array] = deque()
        self._largest = jax.jit(lambda asked: jnp.max(asked, axis=0), out_shardings=sharding.whole(mesh))

    def on(self, numbers: np.ndarray) -> np.ndarray:
        """The largest of the numbers that were asked some rounds ago; zeros in the first rounds."""
        if self._alone:
            return numbers
        devices = self._mesh.local_mesh.size
        asked = np.tile(np.asarray(numbers, np.int32), (devices, 1))
        place = NamedSharding(self._mesh, PartitionSpec(("lane", "batch")))
        self._asked.append(self._largest(jax.make_array_from_process_local_data(place, asked)))
        if len(self._asked) <= self._behind:
            return np.zeros(self._count, np.int32)
        return np.asarray(self._asked.popleft())

    def forget(self) -> None:
        """Hears nothing of what was asked until now, which has been done."""
        self._asked.clear()
