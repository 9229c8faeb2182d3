"""The whole measurement of a slice as traced functions, from HU and spacing to probability, mask and area.

Inputs are image_hu [b, h, w] and spacing_mm [b, 2] (row, column), both float32. What is done before the network and
after it is float64 within, to be traced under `jax.enable_x64`; the network computes in float32.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Num

from mskjax import tasks
from mskjax.export import geometry
from mskjax.measure.muscle import MM2_PER_CM2
from mskjax.tasks.segmentation import Segmentation
from mskjax.types import Variables

THRESHOLD = 0.5
INPUTS = ("image_hu", "spacing_mm")
OUTPUTS = ("probability", "mask", "area_cm2")

Images = Float[Array, "b h w"]
Spacing = Float[Array, "b 2"]
Logits = Callable[[Num[Array, "b S S"]], Float[Array, "b S S"]]


@dataclasses.dataclass(frozen=True)
class Program:
    """The measurement by one network, `logits`, of squares of `size` pixels."""

    logits: Logits
    size: int

    def __call__(self, image_hu: Images, spacing_mm: Spacing) -> dict[str, Array]:
        """`OUTPUTS`, and the network's "logits" [b, S, S] on its own squares.

        "probability" of muscle [b, h, w]; "mask", bool, where it exceeds one half and no bone is near; "area_cm2" [b]
        of the mask. Where a spacing is not finite or under `geometry.FINEST_MM`, or the probability is no number, the
        mask is empty and the area NaN.
        """
        with jax.enable_x64(True):
            squares = before(image_hu, spacing_mm, self.size)
        with jax.enable_x64(False):
            logits = self.logits(squares)
            probability = jax.nn.sigmoid(logits)
        with jax.enable_x64(True):
            return {**after(image_hu, spacing_mm, probability), "logits": logits}


def network(config: Mapping[str, Any], variables: Variables) -> Logits:
    """The logit of muscle in each pixel of squares of HU, by a run's config and weights, in float32 on every device."""
    task: Segmentation = tasks.build({**config["task"], "model": {**config["task"]["model"], "dtype": "float32"}})
    model_state = {name: value for name, value in variables.items() if name != "params"}

    def logits(squares: Num[Array, "b S S"]) -> Float[Array, "b S S"]:
        # Unless told otherwise GPUs multiply float32 as TF32 and TPUs as bfloat16, which errs by far more than 1e-4.
        with jax.default_matmul_precision("highest"):
            return task.logits(variables["params"], model_state, squares)

    return logits


def before(image_hu: Images, spacing_mm: Spacing, size: int) -> Float[Array, "b {size} {size}"]:
    """What the network sees: HU on squares of `size` x `size` square pixels."""
    return geometry.fit_images(image_hu, _or_one(spacing_mm, _usable(spacing_mm)), size)


def after(image_hu: Images, spacing_mm: Spacing, square_probability: Float[Array, "b S S"]) -> dict[str, Array]:
    """`OUTPUTS` of the probability on the network's squares."""
    usable = _usable(spacing_mm)
    spacing_mm = _or_one(spacing_mm, usable)
    probability = geometry.unfit_squares(square_probability, image_hu.shape[1:], spacing_mm)
    usable &= jnp.isfinite(probability).all((1, 2))
    mask = (probability > THRESHOLD) & ~geometry.near_bone(image_hu, spacing_mm) & usable[:, None, None]
    pixel_cm2 = spacing_mm[:, 0].astype(jnp.float64) * spacing_mm[:, 1] / MM2_PER_CM2
    area_cm2 = jnp.where(usable, mask.sum((1, 2)) * pixel_cm2, jnp.nan).astype(jnp.float32)
    return {"probability": probability, "mask": mask, "area_cm2": area_cm2}


def _usable(spacing_mm: Spacing) -> Bool[Array, " b"]:
    return (jnp.isfinite(spacing_mm) & (spacing_mm >= geometry.FINEST_MM)).all(1)


def _or_one(spacing_mm: Spacing, usable: Bool[Array, " b"]) -> Spacing:
    """A spacing with which all can be computed, also where nothing comes of it."""
    return jnp.where(usable[:, None], spacing_mm, 1.0).astype(jnp.float32)
