import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mskjax.data.volume_grid import UNKNOWN
from mskjax.tasks.losses import binary_cross_entropy, dice, dice_cross_entropy, segmentation_loss, soft_dice_loss

MASK = jnp.array([[[1.0, 0], [0, 0]], [[0, 0], [0, 0]]])


def test_cross_entropy_of_no_opinion_is_log_2():
    np.testing.assert_allclose(binary_cross_entropy(jnp.zeros((2, 2, 2)), MASK), np.log(2), rtol=1e-6)


def test_cross_entropy_is_exact_and_finite_for_extreme_logits():
    logits = jnp.full((2, 2, 2), 200.0)
    # A wrong pixel costs its logit, a right one nothing: 3 of 4 and 4 of 4 are wrong.
    np.testing.assert_allclose(binary_cross_entropy(logits, MASK), [150, 200])
    np.testing.assert_allclose(binary_cross_entropy(-logits, MASK), [50, 0])


def test_soft_dice_of_fractions_worked_out_by_hand():
    # Probability 1/2 everywhere: overlap 1/2, total 2 + 1; empty: overlap 0, total 2. Smoothing adds 1 to both.
    np.testing.assert_allclose(soft_dice_loss(jnp.zeros((2, 2, 2)), MASK), [1 - 2 / 4, 1 - 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(soft_dice_loss(jnp.zeros((2, 2, 2)), MASK, 3.0), [1 - 4 / 6, 1 - 3 / 5], rtol=1e-6)


def test_soft_dice_of_perfect_and_of_empty_predictions():
    certain = jnp.where(MASK > 0, 100.0, -100.0)
    np.testing.assert_allclose(soft_dice_loss(certain, MASK), [0, 0], atol=1e-6)
    # Everything predicted where nothing is: 1 - 1 / (4 + 1).
    np.testing.assert_allclose(soft_dice_loss(-certain, MASK)[1], 1 - 1 / 5, rtol=1e-6)


def test_losses_add_up_for_each_image_apart():
    logits = jax.random.normal(jax.random.key(0), MASK.shape)
    both = segmentation_loss(logits, MASK, 2.0)
    np.testing.assert_allclose(both, binary_cross_entropy(logits, MASK) + soft_dice_loss(logits, MASK, 2.0))
    alone = segmentation_loss(logits[1:], MASK[1:], 2.0)
    np.testing.assert_allclose(both[1:], alone, rtol=1e-6)


def test_gradients_of_empty_masks_are_finite():
    logits = jnp.array([[[-1e4, 1e4], [0, -100.0]]])
    gradient = jax.grad(lambda x: segmentation_loss(x, jnp.zeros_like(x)).sum())(logits)
    assert np.isfinite(gradient).all()


def test_bfloat16_logits_give_float32_losses():
    logits = jnp.full((1, 64, 64), 0.5, jnp.bfloat16)
    loss = segmentation_loss(logits, jnp.zeros((1, 64, 64)))
    assert loss.dtype == jnp.float32
    p = 1 / (1 + np.exp(-0.5))
    np.testing.assert_allclose(loss, -np.log(1 - p) + 1 - 1 / (4096 * p + 1), rtol=1e-5)


@pytest.mark.parametrize(
    ("predicted", "reference", "expected"),
    [
        ([1, 1, 0, 0], [1, 0, 0, 0], 2 / 3),
        ([1, 1, 0, 0], [0, 0, 1, 1], 0),
        ([0, 0, 0, 0], [0, 0, 0, 0], 1),
        ([1, 0, 0, 0], [0, 0, 0, 0], 0),
        ([1, 0, 1, 1], [1, 0, 1, 1], 1),
    ],
)
def test_dice(predicted, reference, expected):
    logits = jnp.where(jnp.array([predicted]) > 0, 0.1, -0.1)
    assert float(dice(logits, jnp.array([reference], jnp.float32))[0]) == pytest.approx(expected)


@pytest.fixture
def volumes():
    """Logits of three classes, and labels, of two volumes; drawn by numpy in this order."""
    rng = np.random.default_rng(0)
    logits = rng.standard_normal((2, 3, 4, 5, 6)).astype(np.float32)
    label = rng.integers(0, 3, (2, 1, 4, 5, 6))
    return jnp.asarray(np.moveaxis(logits, 1, -1)), label[:, 0]


def test_dice_and_cross_entropy_are_monais(volumes):
    """DiceCELoss(softmax, to_onehot_y, squared_pred, smooth_nr=0, smooth_dr=1e-6) of MONAI 1.6.1 on the same arrays."""
    logits, label = volumes
    found = dice_cross_entropy(logits, jnp.asarray(label))
    np.testing.assert_allclose(found, [1.8458592891693115, 1.9520344734191895], rtol=1e-6)
    lacking = np.where(label[:1] == 2, 0, label[:1])  # a class that is nowhere
    np.testing.assert_allclose(dice_cross_entropy(logits[:1], jnp.asarray(lacking)), 1.9320461750030518, rtol=1e-6)


def test_unknown_voxels_count_nowhere(volumes):
    logits, label = volumes
    partly = label.copy()
    partly[:, 2:] = UNKNOWN
    found = dice_cross_entropy(logits, jnp.asarray(partly))
    np.testing.assert_allclose(found, dice_cross_entropy(logits[:, :2], jnp.asarray(label[:, :2])), rtol=1e-6)
    gradient = jax.grad(lambda logits: dice_cross_entropy(logits, jnp.asarray(partly)).sum())(logits)
    assert not gradient[:, 2:].any() and gradient[:, :2].any()


def test_a_volume_of_unknown_voxels_teaches_nothing(volumes):
    logits, label = volumes
    nothing = jnp.full(label.shape, UNKNOWN)
    assert np.isfinite(dice_cross_entropy(logits, nothing)).all()
    assert not jax.grad(lambda logits: dice_cross_entropy(logits, nothing).sum())(logits).any()
