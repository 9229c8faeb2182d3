"""Compares both networks with torchvision at real size: outputs, gradients and statistics, through `load_weights`.

    python -m benchmarks.torchvision_parity --peers=/path/to/python/with/torchvision

Errors are against torchvision in float64, on one batch: `output_error` the largest of each output in evaluation in
float32, beside that of torchvision's own float32; `gradient_error` and `statistics_error` of a training step the
relative L2 norms, of all leaves together and of the worst one.
"""

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks import common
from mskjax import convert, models

PEERS = flags.DEFINE_string("peers", None, "a Python with torch and torchvision", required=True)
NETWORKS: dict[str, dict[str, Any]] = {
    "resnet101": {},
    "fcn_resnet101": {"num_classes": 21, "aux_head": True, "dropout": 0},
}


def main(_: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder, jax.default_matmul_precision("highest"):
        program = Path(__file__).with_name("torchvision_reference.py")
        subprocess.run([PEERS.value, program, folder], check=True)
        for name in NETWORKS:
            common.report("torchvision_parity", network=name, **figures(name, Path(folder)))


def figures(name: str, folder: Path) -> dict[str, Any]:
    """The parameters and the errors of one network."""
    with np.load(folder / f"{name}.npz") as file:
        arrays = {key: np.moveaxis(value, 1, -1) if value.ndim == 4 else value for key, value in file.items()}
    variables, expected = (
        convert.load_weights(folder / file, model=name, **NETWORKS[name])
        for file in (f"{name}.pth", f"{name}_step.pth")
    )
    outputs = jax.jit(models.build(name, **NETWORKS[name]).apply)(variables, arrays["image"])
    named = [key for key in outputs if key in arrays]
    found: dict[str, Any] = {"parameters": sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))}
    found["output_error"] = {key: largest(outputs[key] - arrays[key]) for key in named}
    found["largest_output_error"] = max(found["output_error"].values())
    found["output_error_of_torch"] = {key: largest(arrays[f"float32/{key}"] - arrays[key]) for key in named}
    found["output_largest"] = {key: largest(arrays[key]) for key in named}
    for dtype in ("float32", "float64"):
        with jax.enable_x64(dtype == "float64"):
            step = training_step(name, dtype, variables, arrays)
        found[f"gradient_error_{dtype}"] = relative(step["params"], expected["params"])
        found[f"statistics_error_{dtype}"] = relative(step["batch_stats"], expected["batch_stats"])
    return found


def training_step(name: str, dtype: str, variables: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Gradients under "params" and the new statistics under "batch_stats" of one training step."""
    module = models.build(name, dtype=dtype, **NETWORKS[name])
    variables, arrays = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), (variables, arrays))

    def loss(params: Any, arrays: Any) -> Any:
        outputs, state = module.apply(
            variables | {"params": params}, arrays["image"], train=True, mutable=["batch_stats"]
        )
        logits = {key: value for key, value in outputs.items() if key.endswith("logits")}
        return sum(jnp.sum(value * arrays[f"cotangent/{key}"]) for key, value in logits.items()), state

    gradients, state = jax.jit(jax.grad(loss, has_aux=True))(variables["params"], arrays)
    return jax.tree.map(np.asarray, {"params": gradients, **state})


def largest(values: Any) -> float:
    """The largest magnitude."""
    return float(np.abs(values).max())


def relative(found: Any, expected: Any) -> dict[str, float]:
    """The relative L2 errors over all leaves together and of the worst leaf."""
    squares = jax.tree.map(
        lambda f, e: (np.sum((f - np.asarray(e)) ** 2), np.sum(np.square(e, dtype=float))), found, expected
    )
    pairs = np.reshape(jax.tree.leaves(squares), (-1, 2))
    return {"all": float(np.sqrt(np.divide(*pairs.sum(0)))), "worst": float(np.sqrt(np.max(pairs[:, 0] / pairs[:, 1])))}


if __name__ == "__main__":
    app.run(main)
