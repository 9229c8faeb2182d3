"""What launch/export does: writes a run for other programs, verifies it, and says what it is.

    FILE              the weights or the program
    FILE.sample.npz   what it was verified on and what came out; drawn slices alone, as it goes where the file goes
    FILE.md           the model card

All three appear together once the file has been verified, and none of them if it fails.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging
from jax import lax

from mskjax.export import card, descent, onnx_file, stablehlo, weights
from mskjax.export import sample as samples
from mskjax.export.artifact import load, sample_path
from mskjax.export.program import OUTPUTS, Program, network
from mskjax.export.sample import Sample
from mskjax.export.source import Source, read, require_slices
from mskjax.export.verification import compare, computes_otherwise, reference, rounding
from mskjax.files import atomic_path, require_folder, sha256
from mskjax.training import origin

FORMATS = ("safetensors", "stablehlo", "onnx")
SUFFIXES = (*(f".{name}" for name in FORMATS), ".md", ".npz")
Arrays = Mapping[str, np.ndarray]


def export(
    run: str | Path,
    output: str | Path,
    format: str,
    height: int = 512,
    width: int = 512,
    onnx_python: str | None = None,
) -> str:
    """Writes `output`, its sample and its card, and says in a sentence how it was verified.

    `height` and `width` are those of the slices that a program of format "stablehlo" or "onnx" takes; `onnx_python` is
    a Python with jax2onnx. Raises `ValueError` or `OSError` for a run that does not fit the format, for an output that
    is not a former export, and where the verification fails; then nothing is written.
    """
    output = Path(output)
    if format not in FORMATS:
        raise ValueError(f"format {format!r} is none of {', '.join(FORMATS)}")
    _check_output(output, format)
    source = read(run)
    known = descent.about(source)
    with atomic_path(output) as file:
        if format == "safetensors":
            arrays, figures = weights.write(file, source)
        else:
            _check_program(source, format, height, width, onnx_python)
            arrays, figures = _write_program(file, source, known, format, (height, width), onnx_python)
        about = {**known, "format": format, "sha256": sha256(file), "verification": figures}
        with atomic_path(sample_path(output)) as written:
            np.savez_compressed(written, allow_pickle=False, about=np.array(json.dumps(about)), **arrays)
        with atomic_path(output.with_name(f"{output.name}.md")) as written:
            written.write_text(card.text(output.name, source, about), encoding="utf-8")
    return f"{output}: {card.verified(about)}"


def _check_output(output: Path, format: str) -> None:
    require_folder(output.parent)
    if output.is_dir():
        raise ValueError(f"{output} is a folder; name a file, as in --output={output}/muscle.{format}")
    if output.exists() and not sample_path(output).is_file():
        raise ValueError(f"{output} exists and was not made by launch.export; choose another name or delete it")
    known = output.suffix in SUFFIXES or format == "onnx"  # by which programs that read ONNX tell it
    if known and output.suffix != f".{format}":
        raise ValueError(f"{output} is to hold {format}, which its name does not say; name it {output.stem}.{format}")


def _check_program(source: Source, format: str, height: int, width: int, onnx_python: str | None) -> None:
    require_slices(source, format)
    if not (32 <= height <= 4096 and 32 <= width <= 4096):
        raise ValueError(f"slices of {height}x{width} pixels are no CT's; give --height and --width from 32 to 4096")
    if onnx_python and shutil.which(onnx_python) is None:
        raise ValueError(f"--onnx_python={onnx_python} is no program; name the Python of: {onnx_file.ENVIRONMENT}")


def _write_program(
    file: Path, source: Source, known: Mapping[str, Any], format: str, shape: tuple[int, int], python: str | None
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Writes a program; returns what of its sample may be passed on, with its outputs, and the figures."""
    sample = samples.make(shape, source.dataset, bool(origin.learned_from_phantoms(source.folder)))
    if source.dataset is None:
        logging.warning("the dataset of %s is not where it was; a drawn slice alone is compared", source.folder)
    told = "%s is converted and compared with the run on %d slices, which takes a while at full size"
    logging.info(told, source.folder, len(sample.image_hu))
    if format == "onnx":
        found: Arrays = onnx_file.write(file, source.config, source.weights, sample, known, python)
    else:
        found = _stablehlo(file, source, sample, known)
    expected = reference(source.config, source.variables, sample)
    try:
        agreement = compare(expected, found, sample.spacing_mm.astype(np.float64))
    except ValueError as error:
        raise ValueError(
            f"the exported program does not agree with {source.folder} and is not kept: {error}"
        ) from error
    drawn = np.array(sample.drawn)
    arrays = {"image_hu": sample.image_hu, "spacing_mm": sample.spacing_mm, **found}
    figures = {**asdict(agreement), "sample": list(sample.names), "shape": list(shape)}
    if computes_otherwise(source.config):
        figures |= rounding(source.folder, sample, expected)
    return {name: np.asarray(array)[drawn] for name, array in arrays.items()}, figures


def _stablehlo(file: Path, source: Source, sample: Sample, known: Mapping[str, Any]) -> Arrays:
    def logits(squares: jax.Array) -> jax.Array:
        # Without the barrier each compilation of the file computes sums of kernels first, and takes twice as long.
        return network(source.config, lax.optimization_barrier(source.variables))(squares)

    program = Program(logits, source.config["image_size"])
    shape = (sample.image_hu.shape[1], sample.image_hu.shape[2])
    stablehlo.write(file, program, shape, known)
    inputs = (sample.image_hu.astype(np.float32), sample.spacing_mm)
    # The file itself has no logits, so that they are of the same program with one output more.
    logits = jax.jit(stablehlo.exported(program, shape, with_logits=True).call)(*inputs)["logits"]
    found = load(file).run(*inputs)
    return {**{name: found[name] for name in OUTPUTS}, "logits": np.asarray(logits)}
