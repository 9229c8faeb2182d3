"""A run's weights as safetensors that torchvision's or SMIT's own network loads strictly."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from flax.traverse_util import flatten_dict

from mskjax import __version__, convert, models, tasks
from mskjax.convert.families import torch_tensors
from mskjax.convert.graft import COLLECTIONS
from mskjax.convert.store import save_tensors
from mskjax.data import batches, phantom
from mskjax.data.ras import axial_to_ras
from mskjax.export.sample import PHANTOM, SEED
from mskjax.export.source import Source
from mskjax.export.verification import DAMAGED
from mskjax.tasks.intensity import window
from mskjax.types import Variables

ANSWERS = ("logits", "aux_logits", "patch_logits", "image_logits", "reconstruction")
SCAN_MM = 300.0  # the side of the drawn scan
LARGER = 3  # halves of the network's side, that of the drawn slice, so that fitting it can be tried


def write(path: Path, source: Source) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Writes the weights; returns a sample, the network's input and answers as torch has them, and the figures.

    Raises `ValueError` for a network that torch has no names for or that answers no numbers, and where the file read
    back does not have the same bits.
    """
    network = {name: source.variables[name] for name in COLLECTIONS if name in source.variables}
    tensors = torch_tensors(network, source.model, source.options)
    about = {"model": source.model, "options": source.options, "weights_sha256": source.weights_sha256}
    save_tensors(path, tensors, {"format": "pt", "mskjax": json.dumps({"version": __version__, **about})})
    _check_equal(network, _read_back(path, source))
    image, slices = _input(source)
    answers = _answers(source, network, image)
    if not all(np.isfinite(answer).all() for answer in answers.values()):
        raise ValueError(DAMAGED)
    sample = {name: np.moveaxis(array, -1, 1) for name, array in {"image": image, **answers}.items()}
    return {**slices, **sample}, {"tensors": len(tensors), "sample": [PHANTOM]}


def _read_back(path: Path, source: Source) -> Variables:
    """The weights in the file, without a word on the counts that reading leaves out."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        return convert.load_weights(path, source.model, **source.options)
    finally:
        logging.set_verbosity(verbosity)


def _check_equal(network: Variables, read_back: Variables) -> None:
    own, other = (flatten_dict(tree, sep="/") for tree in (network, read_back))
    unlike = [name for name in {**own, **other} if not _same(own.get(name), other.get(name))]
    if unlike:
        raise ValueError(f"{len(unlike)} of {len(own)} leaves read back are not those of the run, such as {unlike[0]}")


def _same(own: Any, other: Any) -> bool:
    return own is not None and other is not None and np.array_equal(own, other)


def _answers(source: Source, variables: Variables, image: np.ndarray) -> dict[str, np.ndarray]:
    module: Any = models.build(source.model, **source.options)
    outputs: Mapping[str, Any] = jax.jit(lambda variables: module.apply(variables, image, train=False))(variables)
    return {name: np.asarray(outputs[name]) for name in ANSWERS if name in outputs}


def _input(source: Source) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """What the network sees of a drawn scan's middle, or of a drawn slice, which is given too, as before all steps."""
    side, task = source.config["image_size"], tasks.build(source.config["task"])
    if tasks.sees_volumes(source.config["task"]):
        scan = phantom.volumes(1, (side, side, side), (SCAN_MM / side,) * 3, seed=SEED)
        volume = jnp.asarray(axial_to_ras(scan.image_hu[0]))[None]
        seen = window(volume, task.window_hu, task.level_hu)[..., None]
        return np.asarray(seen, np.float32), {}
    scan = phantom.slices(1, side * LARGER // 2, seed=SEED)
    fitted = batches.fit_image(scan.image_hu[0], scan.spacing_mm[0].astype(np.float64), side)
    seen = task.normalise(jnp.asarray(fitted)[None])
    slices = {"image_hu": scan.image_hu, "spacing_mm": scan.spacing_mm.astype(np.float32)}
    return np.asarray(seen, np.float32), slices
