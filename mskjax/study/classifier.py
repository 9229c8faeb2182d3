"""A trained run of classification as functions of slices."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
from absl import logging
from jax import Array
from jaxtyping import Float, Float32, Int16

from mskjax import convert, tasks
from mskjax.data import batches
from mskjax.data.dataset import Slices
from mskjax.files import read_json, sha256
from mskjax.training import origin
from mskjax.training.start import weight_file
from mskjax.types import Variables


@dataclass(frozen=True)
class Classifier:
    """The task of a run or of a cell of a study, its best weights, its config, and the SHA-256 of the weights' file."""

    task: Any
    variables: Variables
    config: dict[str, Any]
    weights_sha256: str

    @property
    def dataset(self) -> Path:
        """The dataset folder that the config names."""
        return Path(self.config["dataset"])

    @property
    def image_size(self) -> int:
        """The side in pixels of the squares that the task takes."""
        return self.config["image_size"]

    def own_cases(self, split: str) -> list[str]:
        """The case ids of a split of a study's cell, which splits the dataset by its own shuffle; none for a run."""
        return list(self.config.get("cell", {}).get(f"{split}_cases", ()))

    @property
    def window(self) -> tuple[float, float]:
        """The lowest and the highest value that the network can tell from others."""
        return self.task.limits_hu or (0.0, 255.0)

    def squares(self, slices: Slices) -> Int16[np.ndarray, "n S S"]:
        """Slices as the run learned from them, cut to the window and then resampled."""
        return batches.fit(slices, self.image_size, self.task.limits_hu)["image_hu"]

    def inputs(self, squares: Int16[np.ndarray, "n S S"]) -> Float32[np.ndarray, "n s s 3"]:
        """The network's input for slices as `squares` gives them, normalised one by one."""
        normalise = jax.jit(self.task.normalise)
        return np.concatenate([np.asarray(normalise(square[None]), np.float32) for square in squares])

    def probabilities(self, images: Float32[np.ndarray, "n s s 3"]) -> Float32[np.ndarray, "n k"]:
        """The probability of each class for the network's inputs, which are taken one by one."""
        forward = jax.jit(softmax, static_argnums=0)
        return np.concatenate(
            [np.asarray(forward(self.task.module, self.variables, image[None]), np.float32) for image in images]
        )


def softmax(module: nn.Module, variables: Variables, image: Any) -> Float[Array, "b k"]:
    """The probability of each class, of images as the module takes them."""
    outputs: Any = module.apply(variables, image)
    return jax.nn.softmax(outputs["logits"])


def load_classifier(run: str | Path) -> Classifier:
    """The classifier of a run, with the weights of its lowest validation loss; that of an unfinished one is logged.

    Raises `OSError` where `run` is no run or has no weights yet, and `ValueError` for a run of another task.
    """
    run = Path(run)
    if not (run / "config.json").is_file():
        raise FileNotFoundError(f"{run} is no run (no config.json); make one with launch.train")
    config = read_json(run / "config.json")
    if "study" in config:
        raise ValueError(f"{run} is a study; give one of its cells, such as {_some_cell(run)}")
    origin.refuse_pretraining(run, "explain")
    name = config["task"]["name"] if "task" in config else None
    if name != "classification":
        what = f"a run of the task {name}" if name else "no run"
        raise ValueError(f"{run} is {what}, which decides nothing about a case; name a run of classification")
    weights = weight_file(run)
    variables, _ = convert.load_variables(weights)
    if not (run / "DONE").is_file():
        logging.warning("%s has not finished; these are its best weights so far", run)
    return Classifier(tasks.build(config["task"]), jax.device_put(variables), config, sha256(weights))


def _some_cell(study: Path) -> Path:
    """The first cell of a study that has weights, or else where cells lie."""
    return min((path.parents[1] for path in study.glob("cells/*/best/*")), default=study / "cells" / "CELL")
