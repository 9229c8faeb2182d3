"""The three losses of SMIT: masked voxels again, the teacher's view of masked patches, and of the other image.

As published code has them (The-Veeraraghavan-Lab/SMIT): cross-entropy of the student to the teacher, whose logits are
centred by their running mean and sharpened by a temperature that rises over the first epochs.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Num

from mskjax.models.smit import enlarged

VIEWS = 2
STUDENT_TEMPERATURE = 0.1
CENTER_MOMENTUM = 0.9
COLD, WARM = 0.04, 0.07  # the teacher's temperatures
WARMING_EPOCHS = 30  # of the temperature for images, after which that for patches takes as long

Outputs = Mapping[str, Array]


def losses(
    student: Outputs,
    teacher: Outputs,
    centers: Mapping[str, Array],
    mask: Num[Array, "n i j k"],
    epoch: int | Int[Array, ""],
    patch_weight: float = 0.1,
    image_weight: float = 0.1,
    warming_epochs: int = WARMING_EPOCHS,
) -> dict[str, Float[Array, ""]]:
    """The weighted losses "patch", "image" and "reconstruction" of a batch, and their sum "total".

    Of the n examples the first half are one view of each scan, the second half the other. `student` holds the outputs
    of `SMITPretrainer` for masked volumes, with the "volume" as it was before, `teacher` its logits for whole ones;
    `centers` holds "patch" and "image" [k]. `mask` is 1 in blocks that the student has not seen; `epoch` counts from 0.
    """
    warm, patch_warm = teacher_temperatures(epoch, warming_epochs)
    patch_target = _target(teacher["patch_logits"], centers["patch"], patch_warm)
    unlike = _cross_entropy(patch_target, student["patch_logits"])
    hidden = mask.reshape(len(mask), -1).astype(unlike.dtype)
    patch = ((unlike * hidden).sum(-1) / jnp.maximum(hidden.sum(-1), 1)).mean()
    image_target = _target(teacher["image_logits"], centers["image"], warm)
    image = _cross_entropy(jnp.roll(image_target, len(mask) // VIEWS, 0), student["image_logits"]).mean()
    parts = {
        "patch": patch_weight * patch,
        "image": image_weight * image,
        "reconstruction": reconstruction_loss(student["reconstruction"], student["volume"], mask),
    }
    return {**parts, "total": sum(parts.values(), jnp.float32(0))}


def reconstruction_loss(
    reconstruction: Float[Array, "n d h w 1"], volume: Float[Array, "n d h w 1"], mask: Num[Array, "n i j k"]
) -> Float[Array, ""]:
    """The mean absolute difference over the masked voxels of all examples."""
    hidden = enlarged(mask, volume.shape[1:4])[..., None].astype(reconstruction.dtype)
    return (jnp.abs(volume - reconstruction) * hidden).sum() / (hidden.sum() + 1e-5)


def teacher_temperatures(
    epoch: int | Int[Array, ""], warming_epochs: int = WARMING_EPOCHS
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The teacher's temperatures for images, which rise from the first epoch on, and for patches, which do so next."""

    def risen(epochs: Array) -> Array:
        return COLD + (WARM - COLD) * jnp.clip(epochs / max(warming_epochs - 1, 1), 0, 1)

    epochs = jnp.asarray(epoch, jnp.float32)
    return risen(epochs), risen(epochs - warming_epochs)


def moved_centers(centers: Mapping[str, Array], teacher: Outputs) -> dict[str, Float[Array, " k"]]:
    """The centres after a batch: a tenth of its mean logits comes in."""
    means = {"patch": teacher["patch_logits"].mean((0, 1)), "image": teacher["image_logits"].mean(0)}
    return {name: CENTER_MOMENTUM * centers[name] + (1 - CENTER_MOMENTUM) * mean for name, mean in means.items()}


def _target(logits: Float[Array, "*n k"], center: Float[Array, " k"], temperature: Array) -> Float[Array, "*n k"]:
    return jax.lax.stop_gradient(jax.nn.softmax((logits - center) / temperature))


def _cross_entropy(target: Float[Array, "*n k"], logits: Float[Array, "*n k"]) -> Float[Array, "*n"]:
    return -(target * jax.nn.log_softmax(logits / STUDENT_TEMPERATURE)).sum(-1)
