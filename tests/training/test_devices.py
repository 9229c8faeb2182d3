"""One device, eight, and those of two processes take the same steps: in float64 they differ by rounding alone."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ports import free_port

from mskjax import models
from mskjax.data.augment import Augmentation
from mskjax.tasks.segmentation import Segmentation
from mskjax.training import optim, sharding
from mskjax.training.state import create
from mskjax.training.step import compile_steps

SIZE, BATCH = 32, 8
# The warp computes in float32 whatever the network does; at probability 0 it passes every value on as it is.
STILL = Augmentation(flip=0.0, rotation=0.0, scaling=0.0, elastic=0.0)


@pytest.fixture(scope="module", autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def states():
    """The states and losses of 20 steps on one device and on eight, and their evaluation at the end."""
    return [run(sharding.make_mesh(devices, BATCH)) for devices in (1, 8)]


def run(mesh):
    rng = np.random.default_rng(0)
    image_hu = rng.integers(-200, 200, (16, SIZE, SIZE)).astype(np.int16)
    mask, spacing_mm = (image_hu > 50).astype(np.uint8), np.full((16, 2), 8, np.float32)
    arrays = {"image_hu": image_hu, "mask": mask, "spacing_mm": spacing_mm}
    module = models.build("fcn_resnet101", num_classes=1, stage_sizes=(1, 1, 1, 1), width=4, dtype=jnp.float64)
    task, key, optimizer = Segmentation(module, STILL), jax.random.key(0), optim.adam()
    params, model_state = task.init(key, {"image_hu": arrays["image_hu"][:1]})
    state = create(params, model_state, optimizer.init(optim.split(params, ())[0]), key)
    state, arrays = sharding.stack([state], mesh), sharding.share(arrays, mesh)
    steps, states, own = compile_steps(task, optimizer, mesh), [], sharding.team(mesh).part(BATCH)
    rate, active = sharding.own_part((np.array([1e-3]), np.array([True])), mesh, sharding.LANES)
    for step in range(20):
        rows = np.random.default_rng(step).permutation(16)[None, :BATCH].astype(np.int32)
        state, metrics = steps.train(state, arrays, sharding.own_part(rows[:, own], mesh), rate, active)
        states.append({"loss": float(metrics["loss"][0]), **jax.device_get({"mu": state.opt_state.mu})})
    rows, weights = np.arange(8, dtype=np.int32)[None], np.array([[1, 1, 1, 1, 1, 0, 0, 0]], np.float32)
    rows, weights = sharding.own_part((rows[:, own], weights[:, own]), mesh)
    sums = steps.evaluate(state.params, state.model_state, arrays, rows, weights)
    return states, jax.device_get(state.params), jax.device_get(sums)


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def test_first_loss_and_gradient_agree(states):
    (one, *_), (eight, *_) = (run[0] for run in states)
    assert one["loss"] == pytest.approx(eight["loss"], rel=1e-10)
    # After one step Adam's first moment is a tenth of the gradient.
    gradient, other = flat(one["mu"]), flat(eight["mu"])
    assert np.linalg.norm(gradient - other) < 1e-10 * np.linalg.norm(gradient)


def test_weights_agree_after_20_steps(states):
    (_, one, _), (_, eight, _) = states
    np.testing.assert_allclose(flat(eight), flat(one), rtol=0, atol=1e-8)


def test_evaluation_agrees_and_leaves_padding_out(states):
    (_, _, one), (_, _, eight) = states
    assert one["weight"] == eight["weight"] == 5
    assert one["loss"] == pytest.approx(eight["loss"], rel=1e-8)


def test_two_processes_agree_with_one(states, tmp_path):
    (steps, one, sums), port = states[0], free_port()
    command = [sys.executable, str(Path(__file__).with_name("of_a_team.py")), str(tmp_path / "found.pickle"), str(port)]
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=4", "JAX_ENABLE_X64": "1"}
    flags["PYTHONPATH"] = os.pathsep.join(sys.path)  # for modules of tests
    team = [subprocess.Popen([*command, str(index)], env={**os.environ, **flags}) for index in range(2)]
    assert [process.wait(timeout=300) for process in team] == [0, 0]
    found_steps, found, found_sums = pickle.loads((tmp_path / "found.pickle").read_bytes())
    assert [step["loss"] for step in found_steps] == pytest.approx([step["loss"] for step in steps], rel=1e-8)
    np.testing.assert_allclose(flat(found), flat(one), rtol=0, atol=1e-8)
    assert {name: value.item() for name, value in found_sums.items()} == pytest.approx(
        {name: value.item() for name, value in sums.items()}, rel=1e-8
    )
