"""The golden files of SMIT's official code, and its weights in the networks here."""

import runpy
from pathlib import Path

import numpy as np

from mskjax import models
from mskjax.convert.rules import apply_rules
from mskjax.convert.smit import official_names, rules

GOLDEN = Path(__file__).parents[1] / "golden" / "smit"
FABRICATE = runpy.run_path(str(GOLDEN / "fabricate.py"))


def golden(prefix):
    """What the official code gave, by its names."""
    with np.load(GOLDEN / "smit.npz") as file:
        return {name.removeprefix(prefix): file[name] for name in file.files if name.startswith(prefix)}


def filled(module, network, heads, prefix=""):
    """The variables of a network here with the weights of one there."""
    tensors = official_names(FABRICATE["tensors"](network, prefix))
    return apply_rules(tensors, rules(heads), models.abstract(module))


def volumes(*numbers):
    """Volumes [n, d, h, w, 1]."""
    return np.stack([FABRICATE["volume"](number) for number in numbers])[..., None]


def masks(*numbers):
    """Masks of blocks [n, 2, 2, 2]."""
    return np.stack([FABRICATE["mask"](number) for number in numbers])


def channels_first(values):
    """[b, c, d, h, w] of [b, d, h, w, c]."""
    return np.moveaxis(np.asarray(values), -1, 1)
