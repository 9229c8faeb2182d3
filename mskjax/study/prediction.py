"""Masks of slices by a trained run."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from absl import logging
from jaxtyping import Bool, Float, Int16
from tqdm import tqdm

Predictor = Callable[[Int16[np.ndarray, "n h w"], Float[np.ndarray, "2"]], Float[np.ndarray, "n h w"]]
THRESHOLD = 0.5  # of the sigmoid's output (study A)


def load_predictor(run: str | Path) -> Predictor:
    """The run's best weights as a function from HU slices of one spacing (row, column) to the probability of muscle."""
    # Imported here, as it brings JAX along, which measuring a finished mask does without.
    from mskjax.training.predict import load_run

    return load_run(run)


def predict_mask(
    predictor: Predictor, image_hu: Int16[np.ndarray, "h w"], spacing_mm: Float[np.ndarray, "2"]
) -> Bool[np.ndarray, "h w"]:
    """The mask of one slice, on its own grid; `ValueError` where the run predicts no numbers.

    Slices go one by one: every batch has the same shape and the network is compiled once.
    """
    probability = predictor(image_hu[None], spacing_mm)[0]
    if not np.isfinite(probability).all():
        raise ValueError("the run predicts values that are no numbers; its weights are damaged, so train it again")
    return probability > THRESHOLD


def progress(items: range, unit: str) -> Iterator[int]:
    """The items of a range, with a bar on a terminal and at most ten plain lines elsewhere."""
    if sys.stderr.isatty():
        yield from tqdm(items, desc="predict", unit=unit)
        return
    for done, item in enumerate(items, start=1):
        yield item
        if 10 * done // len(items) > 10 * (done - 1) // len(items):
            logging.info("predicted %d of %d %ss", done, len(items), unit)
