"""The host queues updates before those before them are done, and reads nothing of one that is under way."""

import jax
import numpy as np
import optax
from recorder import Recorder
from toy_task import Mean, examples

from mskjax.training import sharding
from mskjax.training.job import Schedule
from mskjax.training.loop import fit
from mskjax.training.signals import Caught
from mskjax.training.step import Steps


class UnderWay(jax.Array):
    """A result of an update, which says when it is read or waited for."""

    def __init__(self, told):
        self.told = told

    def __array__(self, dtype=None, copy=None):
        self.block_until_ready()
        return np.zeros(1, dtype)

    def block_until_ready(self):
        self.told.append("waited")
        return self


def test_within_an_epoch_the_host_waits_for_the_last_update_but_two(tmp_path):
    told, begun = [], []
    arrays, rows = examples(range(5), [], batch_size=1)

    def train(states, *_):
        begun.append(states)
        told.append("queued")
        return jax.tree.map(lambda leaf: UnderWay(told), states), {"loss": UnderWay(told)}

    def end_epoch(states, sums):
        told.append("ended")
        return begun[0], {name: np.zeros(1, int) for name in ("epochs_flat_training", "epochs_flat_validation")}

    job = Recorder(Mean(), optax.identity(), rows, Schedule(0, 1.0, 2, 9), tmp_path)
    fit(Steps(train, print, end_epoch), arrays, [job], sharding.make_mesh(1, 1), Caught())
    first, steady, last = ["queued"] * 3 + ["waited"], ["queued", "waited"], ["waited"] * 2 + ["ended"]
    assert told == 2 * [*first, *steady, *steady, *last]
