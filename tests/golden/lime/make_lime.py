"""Writes lime.npz: what the lime package 0.2.0.1 makes of a small image, hidden pixels taking their mean or 0.

    python -m pip install --no-deps --target=FOLDER lime==0.2.0.1 scikit-learn==1.9.1 joblib threadpoolctl
    PYTHONPATH=FOLDER python tests/golden/lime/make_lime.py

The network is a function in closed form, `0.2 + 0.6 tanh(mean of image * weight)` for class 1. Arrays: image [h, w, 3],
weight [h, w, 3], segments [h, w], shown [samples, superpixels] (the package's perturbations), and for either filling
probability [samples] and coefficient [superpixels] of class 1.
"""

from pathlib import Path

import numpy as np
from lime.lime_image import LimeImageExplainer

SIDE, SAMPLES, SEED = 20, 60, 3
FILLINGS = {"mean": None, "zero": 0}


def patches() -> np.ndarray:
    """Eleven superpixels, which are the cells of random points."""
    points = np.random.default_rng(1).uniform(0, SIDE, (11, 2))
    pixels = np.stack(np.mgrid[:SIDE, :SIDE], axis=-1)
    return np.linalg.norm(pixels[:, :, None] - points, axis=-1).argmin(axis=-1)


def main() -> None:
    rng = np.random.default_rng(2)
    image, weight = rng.uniform(0, 1, (SIDE, SIDE, 3)), rng.normal(0, 60, (SIDE, SIDE, 3))
    segments = patches()

    def predict(images: np.ndarray) -> np.ndarray:
        probability = 0.2 + 0.6 * np.tanh((images * weight).mean(axis=(1, 2, 3)))
        return np.stack([1 - probability, probability], axis=1)

    arrays = {"image": image, "weight": weight, "segments": segments}
    for name, color in FILLINGS.items():
        explainer = LimeImageExplainer(random_state=SEED)
        hidden = image.copy()
        for label in np.unique(segments):
            hidden[segments == label] = image[segments == label].mean(axis=0) if color is None else color
        shown, probability = explainer.data_labels(image, hidden, segments, predict, SAMPLES)
        explained = LimeImageExplainer(random_state=SEED).explain_instance(
            image, predict, (1,), color, None, num_samples=SAMPLES, segmentation_fn=lambda _: segments, random_seed=0
        )
        coefficient = np.zeros(len(np.unique(segments)))
        for label, value in explained.local_exp[1]:
            coefficient[label] = value
        arrays |= {"shown": shown.astype(bool), f"probability_{name}": probability[:, 1]}
        arrays[f"coefficient_{name}"] = coefficient
    np.savez_compressed(Path(__file__).with_name("lime.npz"), **arrays)


if __name__ == "__main__":
    main()
