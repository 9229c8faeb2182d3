"""Whether an exported program gives what the run itself gives, and by how much they differ."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float

from mskjax import measure
from mskjax.data import batches
from mskjax.export.program import OUTPUTS, THRESHOLD, network
from mskjax.export.sample import Sample
from mskjax.training.predict import Predictor, load_run
from mskjax.types import Variables

TOLERANCE = 1e-4  # of logits
COARSENESS = 2e-6  # of a logit: above 50 float32 sums of many terms cannot be held to the tolerance
PROBABILITY = TOLERANCE / 4 + 1e-6  # a sigmoid is a quarter as steep as its logit at the most; then it is resampled
DAMAGED = "the run predicts values that are no numbers; its weights are damaged, so train it again"

Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Agreement:
    """The largest differences from the run's own outputs, over all slices of a sample.

    `near_half` counts the pixels whose logit is within 1e-4 of 0, of `pixels`; `mask_differs` those of them where the
    masks differ: elsewhere they are the same. Areas are in cm2.
    """

    slices: int
    pixels: int
    logit_error: float
    largest_logit: float
    probability_error: float
    near_half: int
    mask_differs: int
    area_error_cm2: float


def reference(config: Mapping[str, Any], variables: Variables, sample: Sample) -> dict[str, np.ndarray]:
    """What launch.measure makes of the slices with the network in float32, and the network's own "logits".

    Raises `ValueError` where the run predicts no numbers.
    """
    size = config["image_size"]
    logits = jax.jit(lambda variables, squares: network(config, variables)(squares))
    predict = Predictor(lambda *given: jax.nn.sigmoid(logits(*given)), variables, size, batch_size=1)
    pairs = zip(sample.image_hu, sample.spacing_mm.astype(np.float64), strict=True)
    squares = [batches.fit_image(image_hu, spacing_mm, size)[None] for image_hu, spacing_mm in pairs]
    own = [np.asarray(logits(variables, square))[0] for square in squares]
    return {**measured(predict, sample), "logits": np.stack(own)}


def measured(predict: Predictor, sample: Sample) -> dict[str, np.ndarray]:
    """What launch.measure makes of each slice as a scan of its own. Raises as `reference`."""
    found: dict[str, list[Any]] = {name: [] for name in OUTPUTS}
    for image_hu, spacing_mm in zip(sample.image_hu, sample.spacing_mm.astype(np.float64), strict=True):
        probability = predict(image_hu[None], spacing_mm)[0]
        if not np.isfinite(probability).all():
            raise ValueError(DAMAGED)
        mask = measure.remove_bone(image_hu, probability > THRESHOLD, spacing_mm)
        values = (probability, mask, measure.muscle_area_cm2(mask, spacing_mm))
        for name, value in zip(found, values, strict=True):
            found[name].append(value)
    return {name: np.stack(values) for name, values in found.items()}


def computes_otherwise(config: Mapping[str, Any]) -> bool:
    """Whether launch.measure computes a run's network in less than float32: as it has learned, or by its device."""
    return config["task"]["model"].get("dtype", "float32") != "float32" or jax.default_backend() != "cpu"


def rounding(run: Path, sample: Sample, expected: Outputs) -> dict[str, Any]:
    """How far the run is from its own `reference` as launch.measure computes it; what an export does not repeat."""
    own = measured(load_run(run), sample)
    return {
        "run_mask_differs": int((own["mask"] != expected["mask"]).sum()),
        "run_area_error_cm2": _largest(own["area_cm2"] - expected["area_cm2"]),
    }


def compare(expected: Outputs, found: Outputs, spacing_mm: Float[np.ndarray, "n 2"]) -> Agreement:
    """How far an exported program's outputs are from the run's own.

    Raises `ValueError` where a logit differs by more than 1e-4 (above 50: by 2e-6 of it), a probability by more than
    such a logit's, the mask where the logit is not within 1e-4 of 0, or the area by more than the pixels that do.
    """
    near = _near_half(expected["probability"])
    differs = expected["mask"] != found["mask"]
    agreement = Agreement(
        slices=len(near),
        pixels=near.size,
        logit_error=_largest(expected["logits"] - found["logits"]),
        largest_logit=_largest(expected["logits"]),
        probability_error=_largest(expected["probability"] - found["probability"]),
        near_half=int(near.sum()),
        mask_differs=int((differs & near).sum()),
        area_error_cm2=_largest(expected["area_cm2"] - found["area_cm2"]),
    )
    _check_logits(expected["logits"], found["logits"])
    if not agreement.probability_error <= PROBABILITY:
        error = agreement.probability_error
        raise ValueError(f"its probabilities differ from the run's by up to {error:.2g}, more than {PROBABILITY:g}")
    if (differs & ~near).any():
        raise ValueError(
            f"its mask differs in {(differs & ~near).sum()} pixels whose logit is not within {TOLERANCE:g} of 0"
        )
    allowed_cm2 = differs.sum((1, 2)) * spacing_mm.prod(1) / 100 + 1e-6 * expected["area_cm2"]
    if not (np.abs(expected["area_cm2"] - found["area_cm2"]) <= allowed_cm2).all():
        raise ValueError(
            f"its areas differ by {agreement.area_error_cm2:.3g} cm2, more than the pixels that differ have"
        )
    return agreement


def _check_logits(expected: np.ndarray, found: np.ndarray) -> None:
    error, allowed = np.abs(expected - found), np.maximum(TOLERANCE, COARSENESS * np.abs(expected))
    if not (error <= allowed).all():
        worst = np.unravel_index(np.argmax(error / allowed), error.shape)  # the first that is no number, if one is
        raise ValueError(
            f"its logits differ from the run's: one of {expected[worst]:.3g} by {error[worst]:.3g}, where "
            f"{allowed[worst]:.3g} is allowed"
        )


def _near_half(probability: Float[np.ndarray, "n h w"]) -> Bool[np.ndarray, "n h w"]:
    """Where the probability is that of a logit within the tolerance of 0."""
    exact = probability.astype(np.float64)
    with np.errstate(divide="ignore"):
        return np.abs(np.log(exact) - np.log1p(-exact)) < TOLERANCE


def _largest(values: np.ndarray) -> float:
    return float(np.abs(values).max())
