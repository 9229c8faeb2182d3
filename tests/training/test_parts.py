"""Networks that outgrow a device: how they start, learn and go on where `split_from` splits their state."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recorder import Recorder, Signal
from toy_task import Mean, examples

from configs import segmentation
from mskjax import tasks
from mskjax.convert import save_variables
from mskjax.training import ahead, optim, sharding
from mskjax.training.checkpoint import Checkpoints
from mskjax.training.job import Schedule
from mskjax.training.loop import Interrupted, fit
from mskjax.training.signals import Caught
from mskjax.training.start import starting_state
from mskjax.training.step import compile_steps


@dataclass(frozen=True)
class Means(Mean):
    """The means as those of eight numbers each, which can be split."""

    def init(self, key, batch):
        params, model_state = super().init(key, batch)
        return jax.tree.map(lambda leaf: jnp.arange(8.0), params), model_state

    def loss(self, params, model_state, batch, key):
        return super().loss(jax.tree.map(jnp.mean, params), model_state, batch, key)

    def evaluate(self, params, model_state, batch):
        return super().evaluate(jax.tree.map(jnp.mean, params), model_state, batch)


@pytest.fixture
def seen(monkeypatch):
    """How many elements arrays have on a device that are put there, or are there when the host asks for any."""
    known, sizes = {id(array) for array in jax.live_arrays()}, []
    get, put = jax.device_get, jax.device_put

    def watched_get(tree):
        sizes.extend(array.size for array in jax.live_arrays() if id(array) not in known)
        return get(tree)

    def watched_put(*arguments, **options):
        array = put(*arguments, **options)
        sizes.append(array.addressable_shards[0].data.size)
        return array

    monkeypatch.setattr(jax, "device_get", watched_get)
    monkeypatch.setattr(jax, "device_put", watched_put)
    return sizes


@pytest.mark.parametrize("begun_by", ["chance", "weights", "checkpoint"])
def test_a_start_has_no_split_leaf_whole_on_a_device(begun_by, tmp_path, seen):
    config = {**segmentation.get_config("smoke").to_dict(), "image_size": 32}
    task, optimizer, mesh = tasks.build(config["task"]), optim.adam(), sharding.make_mesh(8, 8)

    def start(workdir):
        with Checkpoints(workdir / "checkpoints") as checkpoints:
            state = starting_state(config, task, optimizer, checkpoints)
            checkpoints.save(state)
        return state

    if begun_by != "chance":
        begun = start(tmp_path / "former")
        save_variables(tmp_path / "weights", {"params": begun.params, **begun.model_state}, {})
        config |= {"init_from": str(tmp_path / "weights")} if begun_by == "weights" else {"resume": tmp_path / "former"}
    state = start(tmp_path / "run")
    placed = sharding.stack([state], mesh, 64)
    own = max(leaf.addressable_shards[0].data.size for leaf in jax.tree.leaves(placed))
    assert 0 < 8 * own == max(leaf.size for leaf in jax.tree.leaves(state.params))
    assert max(seen) == own


@pytest.fixture
def descend(tmp_path):
    """Some of six steps of Adam of the run of a name, on one device, or on four with its state in parts."""
    optimizer, (arrays, rows) = optim.adam(), examples(range(8), range(4), batch_size=4)
    meshes = {devices: sharding.make_mesh(devices, 4) for devices in (1, 4)}
    steps = {n: compile_steps(Means(), optimizer, mesh, split_from=0 if n == 1 else 8) for n, mesh in meshes.items()}

    def run(name, devices, stop=0):
        job, mesh = Recorder(Means(), optimizer, rows, Schedule(0, 0.1, 3, 9), tmp_path / name), meshes[devices]
        fit(steps[devices], sharding.share(arrays, mesh), [job], mesh, Signal(stop) if stop else Caught())
        return job

    return run


def test_a_run_goes_on_in_parts_and_whole_again(descend):
    straight = descend("straight", devices=1)
    for devices in (1, 4):
        with pytest.raises(Interrupted):
            descend("moved", devices, stop=2)
    moved = descend("moved", devices=1)
    assert (len(straight.losses), len(moved.losses)) == (6, 2)
    ends = [{"params": job.state.params, "opt_state": job.state.opt_state} for job in (moved, straight)]
    jax.tree.map(lambda ours, theirs: np.testing.assert_allclose(ours, theirs, rtol=1e-6), *ends)


@pytest.mark.parametrize(("devices", "split_from"), [(1, 0), (4, 8)])
def test_results_are_written_over_the_state_that_is_given(devices, split_from):
    mesh, optimizer = sharding.make_mesh(devices, 4), optim.adam()
    steps = compile_steps(Means(), optimizer, mesh, split_from=split_from)
    state, targets = ahead.abstract_state(Means(), optimizer, {}), {"target": jax.ShapeDtypeStruct((8,), np.float32)}
    (states, *others), _ = ahead.arguments(steps, state, targets, jax.ShapeDtypeStruct((4,), np.int32), mesh)
    numbers = 1 + sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) for leaf in jax.tree.leaves(states))
    for function, *arguments in ((steps.train, states, *others), (steps.end_epoch, states, ())):
        memory = function.lower(*arguments).compile().memory_analysis()
        assert memory.alias_size_in_bytes == 4 * numbers  # of which the key is two
