"""What devices say to each other in a step, read from the compiled program, and two other ways to share one."""

import collections
import re

import jax
import numpy as np
import optax
import pytest

from configs import segmentation
from mskjax import models, tasks
from mskjax.data.augment import Augmentation
from mskjax.models import image_convolution
from mskjax.tasks.segmentation import Segmentation
from mskjax.training import ahead, optim, run, sharding, train
from mskjax.training.state import create
from mskjax.training.step import compile_steps

SIDE, BATCH, SLICES = 32, 8, 16
OTHERS = ("all-gather", "reduce-scatter", "all-to-all", "collective-permute", "collective-broadcast")
DESCENT = optax.identity()
TASK = Segmentation(
    models.build("fcn_resnet101", num_classes=1, stage_sizes=(1, 1, 1, 1), width=4, dropout=0.1), Augmentation()
)


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    image_hu = rng.integers(-200, 200, (SLICES, SIDE, SIDE)).astype(np.int16)
    given = {"image_hu": image_hu, "mask": (image_hu > 50).astype(np.uint8), "label": np.zeros(SLICES, np.int32)}
    return {**given, "spacing_mm": np.full((SLICES, 2), 8, np.float32)}


def program(devices, **layout):
    """The compiled training step as text, and the parameters."""
    mesh = sharding.make_mesh(devices, BATCH)
    steps = compile_steps(TASK, DESCENT, mesh, **layout)
    examples = tasks.examples(TASK, SLICES, SIDE)
    state = ahead.abstract_state(TASK, DESCENT, examples)
    training, _ = ahead.arguments(steps, state, examples, jax.ShapeDtypeStruct((BATCH,), np.int32), mesh)
    return steps.train.lower(*training).compile().as_text(), state.params


def plain(shape):
    """A shape in whatever order of axes, without those of length 1."""
    return tuple(sorted(n for n in shape if n > 1))


def reductions(text):
    """How often arrays of each plain shape are reduced over the devices."""
    found = collections.Counter()
    for line in text.splitlines():
        if reduced := re.search(r"= (.*?) all-reduce(?:-start)?\(", line):
            for shape in re.findall(r"\w+\[([\d,]*)\]", reduced[1]):
                found[plain(int(n) for n in shape.split(",") if n)] += 1
    return found


def step(arrays, devices, **layout):
    """The state after an update, and the one before; at a rate of 1."""
    mesh = sharding.make_mesh(devices, BATCH)
    params, model_state = TASK.init(jax.random.key(0), {"image_hu": arrays["image_hu"][:1]})
    before = create(params, model_state, DESCENT.init(optim.split(params, ())[0]), jax.random.key(0))
    steps = compile_steps(TASK, DESCENT, mesh, **layout)
    states = sharding.stack([before], mesh, steps.split_from)
    batch, rate = np.arange(BATCH, dtype=np.int32)[None], np.ones(1, np.float32)
    states, metrics = steps.train(states, sharding.share(arrays, mesh), batch, rate, np.array([True]))
    return states, before, float(metrics["loss"][0]), mesh


def test_a_step_reduces_gradients_moments_and_the_loss_and_nothing_else():
    text, params = program(8)
    assert not [name for name in OTHERS if f" {name}" in text]
    shapes = [plain(leaf.shape) for leaf in jax.tree.leaves(params)]
    # Each kernel's gradient once. Of BatchNorm two sums forward, mean and variance, and two backward, for each pair of
    # scale and bias. The loss is one number, as are the only class's bias and what its kernel may be reduced with.
    allowed = collections.Counter(shapes)
    allowed.update(shape for leaf, shape in zip(jax.tree.leaves(params), shapes, strict=True) if leaf.ndim == 1)
    allowed[()] = 2
    assert reductions(text) == allowed


def test_the_forms_of_large_kernels_on_cpu_reduce_more_arrays_and_gather_none(monkeypatch):
    """Their gradients are reduced in the parts that each form computes: by kernel pixel, or by sums of its rows."""
    monkeypatch.setattr(image_convolution, "MANY", 1)
    text, params = program(8)
    assert not [name for name in OTHERS if f" {name}" in text]
    found, shapes = reductions(text), [leaf.shape for leaf in jax.tree.leaves(params)]
    # Of three rows four sums with three pixels each; of the stem at stride 2 each of its 7x7 pixels.
    for kernel, parts in ((params["classifier"]["conv"]["kernel"], 12), (params["backbone"]["conv1"]["kernel"], 49)):
        features = kernel.shape[2:]
        assert found[plain(features)] == parts + sum(shape == (1, 1, *features[::-1]) for shape in shapes)


def test_batch_norm_of_each_device_leaves_one_reduction():
    text, _ = program(4, batch_norm="device")
    assert len(re.findall(r" all-reduce(?:-start)?\(", text)) == 1
    assert not [name for name in OTHERS if f" {name}" in text]


def test_batch_norm_of_each_device_averages_what_each_would_do_alone(arrays):
    states, before, loss, mesh = step(arrays, 4, batch_norm="device")
    key = jax.random.fold_in(before.key, 0)

    @jax.jit
    def alone(part, number):
        def loss_of(params):
            return TASK.loss(params, before.model_state, part, jax.random.fold_in(key, number))

        return jax.value_and_grad(loss_of, has_aux=True)(before.params)

    parts = [{name: array[2 * i : 2 * i + 2] for name, array in arrays.items()} for i in range(4)]
    each = [alone(part, i) for i, part in enumerate(parts)]
    mean = jax.tree.map(lambda *leaves: np.mean(leaves, axis=0), *each)
    after = sharding.take(states, 0, mesh)
    assert loss == pytest.approx(float(mean[0][0]), rel=1e-5)
    jax.tree.map(
        lambda new, old, gradient: np.testing.assert_allclose(old - new, gradient, rtol=2e-3, atol=2e-5),
        *(after.params, before.params, mean[1]),
    )
    jax.tree.map(
        lambda new, other: np.testing.assert_allclose(new, other, rtol=1e-4, atol=1e-6),
        *(after.model_state, mean[0][1][0]),
    )


def test_split_parameters_lie_in_parts_and_learn_the_same(arrays):
    states, _, loss, mesh = step(arrays, 8, split_from=256)
    whole, _, expected, other_mesh = step(arrays, 8)
    assert loss == pytest.approx(expected, rel=1e-5)
    for leaf in jax.tree.leaves((states.params, states.selection.best_params)):
        parts = 8 if leaf.size >= 256 and any(n % 8 == 0 for n in leaf.shape[1:]) else 1
        assert leaf.addressable_shards[0].data.size * parts == leaf.size
    one, other = (sharding.take(*of, mesh) for of, mesh in (((states, 0), mesh), ((whole, 0), other_mesh)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5), one.params, other.params)
    again = sharding.put(states, 0, one, mesh)
    jax.tree.map(np.testing.assert_array_equal, sharding.take(again, 0, mesh).params, one.params)


def test_a_run_shares_its_steps_as_its_config_says(squares, tmp_path, monkeypatch):
    config, found = segmentation.get_config("smoke"), {}
    config.update({"dataset": str(squares), "batch_norm": "device", "split_from": 7})

    def compile_nothing(task, optimizer, mesh, **layout):
        found.update(layout)
        raise InterruptedError

    monkeypatch.setattr(run, "compile_steps", compile_nothing)
    with pytest.raises(InterruptedError):
        train(config, tmp_path / "run")
    assert found == {"batch_norm": "device", "split_from": 7}


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="batch_norm is 'local'; it must be one of global, device"):
        compile_steps(TASK, optim.adam(), sharding.make_mesh(1, 1), batch_norm="local")
    with pytest.raises(ValueError, match="parameters that are split need batch_norm 'global'"):
        compile_steps(TASK, optim.adam(), sharding.make_mesh(1, 1), batch_norm="device", split_from=1)
