"""The hand-over to the environment that converts to ONNX, which benchmarks.export_parity tries itself."""

import sys
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from mskjax.export import onnx_file, seal
from mskjax.export.onnx_graph import default_platform, put_images_first
from mskjax.export.sample import Sample

SAMPLE = Sample(np.zeros((1, 4, 5), np.int16), np.ones((1, 2), np.float32), ("a",), (True,))
ASKED = ({"image_size": 8}, Path("weights"), SAMPLE, {"folder": "run 7"})
CONVERTS = """
import json, pathlib, sys, numpy as np
from mskjax.export import seal
folder = sys.argv[-1]
request = json.load(open(folder + "/request.json"))
assert request["shape"] == [4, 5] and request["weights"].endswith("/weights") and request["config"] == {"image_size": 8}
assert request["about"] == {"folder": "run 7"}
assert np.load(folder + "/sample.npz")["image_hu"].shape == (1, 4, 5)
open(folder + "/model.onnx", "wb").write(b"a model")
seal.put(pathlib.Path(folder, "model.onnx"), request["about"], as_metadata=True)
np.savez(folder + "/outputs.npz", area_cm2=np.ones(1))
"""
FAILS = """
import sys
sys.exit("several lines\\nnone of which\\nNotImplementedError: no such thing")
"""

KILLED = """
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
"""


def python(folder, program):
    """A Python that runs `program` whatever module it is asked for."""
    (folder / "program.py").write_text(program)
    (folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} {folder}/program.py "$@"\n')
    (folder / "python").chmod(0o755)
    return str(folder / "python")


def test_what_the_other_environment_makes_is_taken(tmp_path):
    outputs = onnx_file.write(tmp_path / "a.onnx", *ASKED, python(tmp_path, CONVERTS))
    assert (tmp_path / "a.onnx").read_bytes().startswith(b"a model")
    assert seal.read(tmp_path / "a.onnx").about == {"folder": "run 7"}
    assert outputs["area_cm2"].tolist() == [1]


def test_a_program_that_was_not_sealed_is_refused(tmp_path):
    lines = (line for line in CONVERTS.splitlines() if not line.startswith("seal.put"))
    unsealed = python(tmp_path, "\n".join(lines))
    with pytest.raises(ValueError, match=r"a\.onnx is no program of launch\.export"):
        onnx_file.write(tmp_path / "a.onnx", *ASKED, unsealed)


def test_why_it_fails_is_told_with_the_remedy(tmp_path):
    killed = tmp_path / "killed"
    killed.mkdir()
    for asked, sentence in (
        (python(tmp_path, FAILS), r"failed \(NotImplementedError: no such thing\).*--onnx_python="),
        (str(tmp_path / "none"), "cannot be run"),
        (python(killed, KILLED), "ended by signal 9, perhaps for lack of memory"),
    ):
        with pytest.raises(ValueError, match=sentence):
            onnx_file.write(tmp_path / "a.onnx", {}, tmp_path / "weights", SAMPLE, {}, asked)
    assert not (tmp_path / "a.onnx").exists()


def test_the_form_for_any_platform_is_the_one_that_is_converted():
    with default_platform():
        found = lax.platform_dependent(jnp.ones(1), cpu=lambda x: x + 1, default=lambda x: x + 2)
    assert float(found[0]) == 3
    assert float(lax.platform_dependent(jnp.ones(1), cpu=lambda x: x + 1, default=lambda x: x + 2)[0]) == 2


def einsum(equation, *inputs):
    return SimpleNamespace(op_type="Einsum", input=list(inputs), attribute=[SimpleNamespace(s=equation.encode())])


def test_images_are_resized_row_by_row():
    node, pair = einsum("ab,cd,ebdf->eacf", "rows", "columns", "image"), einsum("ab,bcd->acd", "rows", "image")
    put_images_first([node, pair, SimpleNamespace(op_type="Conv", input=["a", "b", "c"])])
    assert (node.attribute[0].s, node.input) == (b"ebdf,ab,cd->eacf", ["image", "rows", "columns"])
    assert (pair.attribute[0].s, pair.input) == (b"ab,bcd->acd", ["rows", "image"])
    rng = np.random.default_rng(0)
    arrays = {"rows": rng.random((6, 3)), "columns": rng.random((5, 4)), "image": rng.random((2, 3, 4, 1))}
    found = np.einsum(node.attribute[0].s.decode(), *(arrays[name] for name in node.input))
    np.testing.assert_allclose(found[..., 0], arrays["rows"] @ arrays["image"][..., 0] @ arrays["columns"].T)
