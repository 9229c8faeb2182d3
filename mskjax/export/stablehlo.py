"""The measurement of slices as one StableHLO program for CPU, CUDA and TPU, for batches of any number."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from mskjax.export import seal
from mskjax.export.program import OUTPUTS, Program

PLATFORMS = ("cpu", "cuda", "tpu")


def exported(program: Program, shape: tuple[int, int], with_logits: bool = False) -> export.Exported:
    """The program for slices of `shape` pixels; `with_logits` has it give the network's logits too."""
    names = (*OUTPUTS, "logits") if with_logits else OUTPUTS

    def measure_slices(image_hu: jax.Array, spacing_mm: jax.Array) -> dict[str, jax.Array]:
        outputs = program(image_hu, spacing_mm)
        return {name: outputs[name] for name in names}

    (batch,) = export.symbolic_shape("b")
    inputs = (jax.ShapeDtypeStruct((batch, *shape), jnp.float32), jax.ShapeDtypeStruct((batch, 2), jnp.float32))
    return export.export(jax.jit(measure_slices), platforms=PLATFORMS)(*inputs)


def write(path: Path, program: Program, shape: tuple[int, int], about: Mapping[str, Any]) -> None:
    """Writes the program, weights and all, sealed with what is told of the run that it is of."""
    path.write_bytes(exported(program, shape).serialize())
    seal.put(path, about)
