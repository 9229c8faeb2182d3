"""Losses of study A (equations 1-3) and of SMIT's fine-tuning for each example of a batch, in float32 or better.

Logits are unbounded, probabilities and masks lie in [0, 1]; everything is summed over all axes but the first.
"""

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jaxtyping import Float, Integer

from mskjax.data.volume_grid import UNKNOWN


def binary_cross_entropy(logits: Float[Array, "b *grid"], mask: Float[Array, "b *grid"]) -> Float[Array, " b"]:
    """The mean over pixels of the cross-entropy in nats (eq. 1); finite for every finite logit."""
    return optax.sigmoid_binary_cross_entropy(_precise(logits), mask).mean(_pixels(logits))


def soft_dice_loss(
    logits: Float[Array, "b *grid"], mask: Float[Array, "b *grid"], smoothing: float = 1.0
) -> Float[Array, " b"]:
    """One minus the soft Dice of the sigmoid of `logits` (eq. 2).

    `smoothing`, in pixels, is added to numerator and denominator (the paper has none), so that the loss of an empty
    mask is finite: 0 where the probability is 0 throughout.
    """
    probability, axes = jax.nn.sigmoid(_precise(logits)), _pixels(logits)
    overlap, total = (probability * mask).sum(axes), probability.sum(axes) + mask.sum(axes)
    return 1 - (2 * overlap + smoothing) / (total + smoothing)


def segmentation_loss(
    logits: Float[Array, "b *grid"], mask: Float[Array, "b *grid"], smoothing: float = 1.0
) -> Float[Array, " b"]:
    """Cross-entropy plus soft Dice loss of each image; their mean over the batch is eq. 3."""
    return binary_cross_entropy(logits, mask) + soft_dice_loss(logits, mask, smoothing)


def dice_cross_entropy(logits: Float[Array, "b *grid k"], label: Integer[Array, "b *grid"]) -> Float[Array, " b"]:
    """One minus the mean soft Dice of all classes, the background among them, plus the mean cross-entropy in nats.

    As MONAI's DiceCELoss with softmax, squared_pred, smooth_nr 0 and smooth_dr 1e-6, which SMIT is fine-tuned with: a
    class that is nowhere in an example adds 1 and has no gradient. Voxels labelled `UNKNOWN` count nowhere; an example
    of them alone has the cross-entropy 0.
    """
    known = label != UNKNOWN
    target = jax.nn.one_hot(jnp.where(known, label, 0), logits.shape[-1]) * known[..., None]
    log_probability, axes = jax.nn.log_softmax(_precise(logits)), tuple(range(1, label.ndim))
    cross_entropy = -(target * log_probability).sum((*axes, -1)) / jnp.maximum(known.sum(axes), 1)
    probability = jnp.exp(log_probability) * known[..., None]
    overlap = (probability * target).sum(axes)
    total = jnp.square(probability).sum(axes) + target.sum(axes)
    return (1 - 2 * overlap / (total + 1e-6)).mean(-1) + cross_entropy


def dice(logits: Float[Array, "b *grid"], mask: Float[Array, "b *grid"]) -> Float[Array, " b"]:
    """The Dice coefficient of the mask predicted at probability 0.5; 1 where both masks are empty."""
    predicted, axes = (logits > 0).astype(_precise(logits).dtype), _pixels(logits)
    overlap, total = (predicted * mask).sum(axes), predicted.sum(axes) + mask.sum(axes)
    return jnp.where(total > 0, 2 * overlap / jnp.maximum(total, 1), 1)


def _precise(values: Array) -> Array:
    return values.astype(jnp.promote_types(values.dtype, jnp.float32))


def _pixels(values: Array) -> tuple[int, ...]:
    return tuple(range(1, values.ndim))
