"""The hand-over to the environment that converts to ONNX, which benchmarks.export_parity tries itself."""

import sys

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mskjax.export import onnx_file
from mskjax.export.onnx_graph import default_platform
from mskjax.export.sample import Sample

SAMPLE = Sample(np.zeros((1, 4, 5), np.int16), np.ones((1, 2), np.float32), ("a",), (True,))
CONVERTS = """
import json, sys, numpy as np
folder = sys.argv[-1]
request = json.load(open(folder + "/request.json"))
assert request["shape"] == [4, 5] and request["weights"].endswith("/weights") and request["config"] == {"image_size": 8}
assert np.load(folder + "/sample.npz")["image_hu"].shape == (1, 4, 5)
open(folder + "/model.onnx", "wb").write(b"a model")
np.savez(folder + "/outputs.npz", area_cm2=np.ones(1))
"""
FAILS = """
import sys
sys.exit("several lines\\nnone of which\\nNotImplementedError: no such thing")
"""


def python(folder, program):
    """A Python that runs `program` whatever module it is asked for."""
    (folder / "program.py").write_text(program)
    (folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} {folder}/program.py "$@"\n')
    (folder / "python").chmod(0o755)
    return str(folder / "python")


def test_what_the_other_environment_makes_is_taken(tmp_path):
    made = python(tmp_path, CONVERTS)
    outputs = onnx_file.write(tmp_path / "a.onnx", {"image_size": 8}, tmp_path / "weights", SAMPLE, made)
    assert (tmp_path / "a.onnx").read_bytes() == b"a model"
    assert outputs["area_cm2"].tolist() == [1]


def test_why_it_fails_is_told_with_the_remedy(tmp_path):
    for asked, sentence in (
        (python(tmp_path, FAILS), r"failed \(NotImplementedError: no such thing\).*--onnx_python="),
        (str(tmp_path / "none"), "cannot be run"),
    ):
        with pytest.raises(ValueError, match=sentence):
            onnx_file.write(tmp_path / "a.onnx", {}, tmp_path / "weights", SAMPLE, asked)
    assert not (tmp_path / "a.onnx").exists()


def test_the_form_for_any_platform_is_the_one_that_is_converted():
    with default_platform():
        found = lax.platform_dependent(jnp.ones(1), cpu=lambda x: x + 1, default=lambda x: x + 2)
    assert float(found[0]) == 3
    assert float(lax.platform_dependent(jnp.ones(1), cpu=lambda x: x + 1, default=lambda x: x + 2)[0]) == 2
