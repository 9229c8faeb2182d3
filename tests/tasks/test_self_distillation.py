import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from configs import smit_pretraining
from mskjax import models
from mskjax.tasks.distillation_losses import moved_centers
from mskjax.tasks.self_distillation import (
    SelfDistillation,
    feature_spread,
    losses,
    masks,
    shared,
    target_entropy,
)
from mskjax.training import optim

SIDE, SCANS = 32, 2
MODULE = models.build("smit_pretrainer", width=4, stage_sizes=(1, 1, 1, 1), prototypes=16, hidden=8, drop_path=0.0)
KEY = jax.random.key(0)


@pytest.fixture(scope="module")
def batch():
    values = np.random.default_rng(0).integers(-300, 400, (SCANS, 2, SIDE, SIDE, SIDE))
    return {"image_hu": jnp.asarray(values, jnp.int16)}


def started(**fields):
    task = SelfDistillation(MODULE, steps_per_epoch=3, epochs=4, **fields)
    return task, *task.init(KEY, {"image_hu": jax.ShapeDtypeStruct((1, 2, SIDE, SIDE, SIDE), jnp.int16)})


@pytest.fixture(scope="module")
def begun():
    return started()


def assert_equal(first, second):
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_seventy_percent_of_the_blocks_are_masked_anew_in_each_crop():
    found = np.asarray(masks(KEY, 5, (96, 96, 96)))
    assert found.shape == (5, 6, 6, 6)
    np.testing.assert_array_equal(found.sum((1, 2, 3)), [152] * 5)
    assert len({mask.tobytes() for mask in found}) == 5
    assert 0.6 < np.asarray(masks(KEY, 2000, (32, 32, 32))).mean(0).min() < 0.75  # six of eight, everywhere


def test_the_window_of_study_b_and_the_order_of_the_views(begun):
    task = begun[0]
    values = jnp.asarray([-175, 37, 250, -1024, 3000, 0], jnp.int16)[:, None, None, None]
    crops = jnp.broadcast_to(values, (6, 1, 1, 1)).reshape(3, 2, 1, 1, 1)
    expected = np.clip((np.array([-175, 250, 3000, 37, -1024, 0]) + 175) / 425, 0, 1)
    np.testing.assert_allclose(np.ravel(task.normalise(crops)), expected, atol=1e-6)


def test_the_teacher_begins_as_its_student_or_at_random(begun):
    task, params, state = begun
    assert_equal(state["teacher"], shared(params))
    # In the host's memory too, as a device may have no room for a second network.
    teachers = state["teacher"], task.begin(params, state)["teacher"]
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(teachers))
    paths = set(flatten_dict(params, sep="/")) - set(flatten_dict(state["teacher"], sep="/"))
    own = {"backbone/mask_token", "pretext/reconstruction/kernel", "pretext/reconstruction/bias"}
    assert paths == own
    _, params, state = started(teacher_init="official")
    kernels = (tree["backbone"]["patch"]["kernel"] for tree in (params, state["teacher"]))
    assert not np.array_equal(*kernels)


def test_the_loss_is_that_of_the_masked_student_and_the_seeing_teacher(begun, batch):
    task, params, state = begun
    state = {**state, "step": jnp.int32(7)}  # the third of four epochs
    loss, (after, parts) = jax.jit(task.loss)(params, state, batch, KEY)
    mask_key, *_ = jax.random.split(KEY, 3)
    volume, mask = task.normalise(batch["image_hu"]), masks(mask_key, 2 * SCANS, (SIDE,) * 3)
    student = jax.jit(MODULE.apply)({"params": params}, volume, mask)
    teacher = jax.jit(lambda params: MODULE.apply({"params": params}, volume, teacher=True))(state["teacher"])
    expected = losses({**student, "volume": volume}, teacher, state["centers"], mask, 2)
    assert float(loss) == pytest.approx(float(expected["total"]), rel=1e-5)
    for name, part in parts.items():
        assert float(part) == pytest.approx(float(expected[name]), rel=1e-4), name
    moved = moved_centers(state["centers"], teacher)
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, atol=1e-6), after["centers"], moved)
    assert_equal(after["teacher"], state["teacher"])


@pytest.fixture(scope="module")
def gradient(begun, batch):
    """The loss's gradient by the parameters, at a step."""
    task, params, state = begun
    compiled = jax.jit(jax.grad(lambda params, step: task.loss(params, {**state, "step": step}, batch, KEY)[0]))
    return lambda step: compiled(params, jnp.int32(step))


def test_directions_rest_in_the_first_epoch_alone(gradient):
    for step, still in ((2, True), (3, False)):
        pretext = gradient(step)["pretext"]
        for head in ("patch_head", "image_head"):
            assert bool((pretext[head]["prototypes"] == 0).all()) is still
            assert not bool((pretext[head]["fc1"]["kernel"] == 0).all())


def test_what_no_gradient_reaches_is_frozen_or_decay_would_move_it(begun, gradient):
    unreached = {path for path, leaf in flatten_dict(gradient(3), sep="/").items() if not leaf.any()}
    assert unreached == optim.split(begun[1], smit_pretraining.get_config().task.freeze)[1].keys()
    assert unreached == {f"backbone/norm{stage}/{name}" for stage in range(4) for name in ("scale", "bias")}


def test_the_teacher_begins_with_pretrained_parameters_too(begun):
    task, params, state = begun
    pretrained = jax.tree.map(lambda leaf: leaf + 1, params)
    after = task.begin(pretrained, state)
    assert_equal(after, {**state, "teacher": shared(pretrained)})
    official = started(teacher_init="official")
    assert_equal(official[0].begin(pretrained, official[2]), official[2])


def schedule(place, total=12):
    """What the published cosine from 0.996 to 1 holds at a place."""
    return 1 + 0.5 * (0.996 - 1) * (1 + np.cos(np.pi * place / total))


@pytest.mark.parametrize(
    ("ema", "places"), [("fixed", range(1, 13)), ("official", [1, 2, 3] * 4)], ids=["fixed", "official"]
)
def test_the_teacher_follows_by_the_momentum_of_its_place(begun, ema, places):
    _, params, state = begun
    task = SelfDistillation(MODULE, 3, 4, ema=ema)
    ahead = jax.tree.map(lambda leaf: leaf + 1, params)
    for step, place in zip(range(1, 13), places, strict=True):
        after = task.post_update(ahead, state, jnp.int32(step))
        assert int(after["step"]) == step
        moved = after["teacher"]["pretext"]["norm"]["bias"] - state["teacher"]["pretext"]["norm"]["bias"]
        np.testing.assert_allclose(moved, 1 - schedule(place), atol=1e-7)


def test_scans_are_evaluated_each_by_itself_and_always_alike(begun, batch):
    task, params, state = begun
    evaluate = jax.jit(task.evaluate)
    together = evaluate(params, state, batch)
    swapped = evaluate(params, state, {"image_hu": batch["image_hu"][::-1]})
    signs = {"target_entropy", "target_information", "feature_spread", "teacher_lag"}
    assert together.keys() == {"loss", "patch", "image", "reconstruction", *signs}
    assert not together["teacher_lag"].any(), "the teacher begins as the student"
    moved = jax.tree.map(lambda leaf: 1.5 * leaf, params)
    np.testing.assert_allclose(evaluate(moved, state, batch)["teacher_lag"], 0.5, rtol=1e-5)
    for name, values in together.items():
        assert values.shape == (SCANS,)
        np.testing.assert_allclose(values, swapped[name][::-1], rtol=1e-4, err_msg=name)
    parts = sum(together[name] for name in ("patch", "image", "reconstruction"))
    np.testing.assert_allclose(together["loss"], parts, rtol=1e-5)


def test_signs_of_a_collapse():
    alike = jnp.broadcast_to(jnp.arange(16.0), (2, 8, 16))
    apart = 10 * jnp.eye(16).reshape(2, 8, 16)  # each patch has a target of its own
    halves = 10 * jnp.eye(2).repeat(8, 0).reshape(2, 8, 2)  # two prototypes, half of the patches each
    even = jnp.zeros((2, 8, 16))
    for logits, expected in ((alike, (0, 0)), (apart, (1, 1)), (halves, (1, 1)), (even, (1, 0))):
        found = target_entropy(logits, jnp.zeros(logits.shape[-1]))
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert float(feature_spread(jnp.ones((2, 2, 2, 2, 3)))) == pytest.approx(0, abs=1e-6)
    opposite = jnp.concatenate([jnp.ones((1, 2, 2, 2, 3)), -jnp.ones((1, 2, 2, 2, 3))])
    assert float(feature_spread(opposite)) == pytest.approx(1, abs=1e-6)
