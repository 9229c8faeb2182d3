"""Weights from other frameworks: declarative rules, strict both ways, and nothing in a file is ever executed."""

from mskjax.convert.graft import graft
from mskjax.convert.load import load_weights
from mskjax.convert.store import load_shapes, load_variables, save_variables

__all__ = ["graft", "load_shapes", "load_variables", "load_weights", "save_variables"]
