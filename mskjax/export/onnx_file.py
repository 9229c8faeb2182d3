"""The measurement of slices as one ONNX file, made in an environment of its own.

jax2onnx needs an older Orbax than the newest, which mskjax's own environment has.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import mskjax
from mskjax.export import seal
from mskjax.export.sample import Sample
from mskjax.files import write_json

ENVIRONMENT = 'python -m venv .venv-onnx && .venv-onnx/bin/pip install --editable ".[onnx]"'


def write(
    path: Path,
    config: Mapping[str, Any],
    weights: Path,
    sample: Sample,
    about: Mapping[str, Any],
    python: str | None = None,
) -> dict[str, np.ndarray]:
    """Writes the program and returns what onnxruntime makes of the sample by it, with the network's logits.

    `about` is told in the file; `python` is the interpreter of the environment with jax2onnx, by default this one.
    Raises `ValueError` where it lacks that, or cannot convert the network.
    """
    with tempfile.TemporaryDirectory(prefix="mskjax-onnx-") as name:
        folder = Path(name)
        network = {"config": dict(config), "weights": str(weights.resolve())}
        request = {**network, "shape": sample.image_hu.shape[1:], "about": dict(about)}
        write_json(folder / "request.json", request)
        np.savez(folder / "sample.npz", image_hu=sample.image_hu, spacing_mm=sample.spacing_mm)
        _convert(folder, python or sys.executable)
        path.write_bytes((folder / "model.onnx").read_bytes())
        seal.read(path)
        with np.load(folder / "outputs.npz") as outputs:
            return dict(outputs)


def _convert(folder: Path, python: str) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(mskjax.__file__).parents[1]),
        "JAX_PLATFORMS": "cpu",
    }
    command = [python, "-m", "mskjax.export.onnx_graph", str(folder)]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ValueError(
            f"--onnx_python={python} cannot be run ({error}); name the Python of: {ENVIRONMENT}"
        ) from error
    if done.returncode:
        if done.returncode < 0:
            raise ValueError(
                f"the conversion to ONNX was ended by signal {-done.returncode}, perhaps for lack of memory"
            )
        told = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise ValueError(
            f"the conversion to ONNX failed ({told}); it needs an environment of its own, made by: {ENVIRONMENT}, "
            "and named with --onnx_python=.venv-onnx/bin/python"
        )
