"""SMIT's networks, losses and gradients at full size against fixtures of its official code; one JSON line.

    python -m benchmarks.smit_parity --fixtures=FOLDER

FOLDER holds segmentation_outputs.npz, segmentation_bn_statistics.npz, pretraining_outputs.npz and the *_keys.txt with
the official names and shapes; weights and volumes of 96 voxels a side are rebuilt from names. Figures to reach: stages
and logits within 1e-4, losses within 1e-5, gradients within 1e-3 of their greatest value.
"""

import argparse
import ast
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from benchmarks.common import report
from mskjax import models
from mskjax.convert.rules import apply_rules, rename
from mskjax.convert.smit import official_names, rules
from mskjax.tasks.distillation_losses import losses, moved_centers

SIDE = 96


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fixtures", type=Path, required=True)
    folder = parser.parse_args().fixtures
    report("smit_parity", **of_segmenter(folder), **of_pretraining(folder))


def of_segmenter(folder: Path) -> dict[str, Any]:
    expected, statistics = (dict(np.load(folder / f"segmentation_{name}.npz")) for name in ("outputs", "bn_statistics"))
    module = models.build("smit_segmenter", num_classes=2)
    variables = filled(module, "decoder", {**tensors(folder / "segmentation_keys.txt"), **statistics})
    found = {
        name: np.moveaxis(np.asarray(output), -1, 1) for name, output in apply(module, variables, volumes(0)).items()
    }
    errors = {
        "bottleneck": difference(
            np.moveaxis(found["bottleneck"], 1, -1).reshape(1, -1, 768), expected["bottleneck_tokens"]
        ),
        "stage0": difference(found["stage0"][:, :, ::4, ::4, ::4], expected["stage0_every4"]),
        "stage1": difference(found["stage1"][:, :, ::2, ::2, ::2], expected["stage1_every2"]),
        "stage2": difference(found["stage2"], expected["stage2"]),
        "stage3": difference(found["stage3"], expected["stage3"]),
        "logits": max(
            difference(found["logits"][:, :, ::4, ::4, ::4], expected["logits_every4"]),
            difference(found["logits"][:, :, 40, ::2, ::2], expected["logits_slice40"]),
        ),
    }
    return {f"largest_error_{name}": float(f"{error:.2g}") for name, error in errors.items()}


def of_pretraining(folder: Path) -> dict[str, Any]:
    expected = dict(np.load(folder / "pretraining_outputs.npz"))
    module, names = models.build("smit_pretrainer", drop_path=0.0), folder / "pretraining_student_keys.txt"
    student, teacher = (filled(module, "pretext", tensors(names, f"{who}.")) for who in ("student", "teacher"))
    image, mask = volumes(1, 2), jnp.asarray(expected["token_mask"])
    targets = jax.jit(lambda variables: module.apply(variables, image, teacher=True))(teacher)
    centers = {"image": expected["center_before"].ravel(), "patch": expected["patch_center_before"].ravel()}

    def total(params: Any) -> tuple[jax.Array, Any]:
        outputs: Any = module.apply({"params": params}, image, mask)
        parts = losses({**outputs, "volume": image}, targets, centers, mask, int(expected["epoch"]))
        return parts["total"], (parts, outputs)

    gradient, (parts, outputs) = jax.jit(jax.grad(total, has_aux=True))(student["params"])
    moved = moved_centers(centers, targets)
    published = {
        "patch": "loss_patch_weighted",
        "image": "loss_image_weighted",
        "reconstruction": "loss_reconstruction",
    }
    return {
        "largest_error_reconstruction": rounded(
            outputs["reconstruction"][:, ::4, ::4, ::4, 0] - expected["reconstruction_every4"]
        ),
        "largest_error_losses": rounded([parts[name] - expected[key] for name, key in published.items()]),
        "largest_error_centers": rounded(moved["image"] - expected["center_after"].ravel()),
        "largest_relative_error_gradients": rounded(gradient_errors(gradient, expected)),
    }


def gradient_errors(gradient: Any, expected: dict[str, np.ndarray]) -> list[float]:
    """Of each published gradient: the largest difference over its greatest value."""
    published = {name.removeprefix("grad/"): value for name, value in expected.items() if name.startswith("grad/")}
    own: Any = flatten_dict({"params": gradient}, sep="/")
    leaves = rename(published, rules(("pretext",))).leaves
    return [float(np.abs(own[name] - leaf.array).max() / np.abs(leaf.array).max()) for name, leaf in leaves.items()]


def filled(module: Any, head: str, values: dict[str, np.ndarray]) -> Any:
    return apply_rules(official_names(values), rules((head,)), models.abstract(module))


def apply(module: Any, variables: Any, image: Any) -> dict[str, Any]:
    return jax.jit(module.apply)(variables, image)


def generator(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(f"open:{name}".encode()))


def tensors(listed: Path, prefix: str = "") -> dict[str, np.ndarray]:
    lines = [line.partition(" ") for line in listed.read_text().splitlines()]
    return {name: tensor(prefix, name, ast.literal_eval(rest.rpartition(" ")[0])) for name, _, rest in lines}


def tensor(prefix: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name.endswith(("relative_position_index", "num_batches_tracked")):
        return np.zeros(shape, np.int64)
    if name.endswith("weight_g"):
        return np.ones(shape, np.float32)
    z = generator(prefix + name.replace("last_layer2", "last_layer")).standard_normal(shape, np.float32)
    if name.endswith(("relative_position_bias_table", "mask_token")):
        return np.float32(0.3 if name.endswith("table") else 0.5) * z
    if len(shape) == 1:
        return 1 + np.float32(0.2) * z if name.endswith("weight") else np.float32(0.1) * z
    return z / np.float32(np.sqrt(np.prod(shape[1:])))


def volumes(*numbers: int) -> jax.Array:
    return jnp.asarray(np.stack([volume(number) for number in numbers]))[..., None]


def volume(k: int) -> np.ndarray:
    zz, yy, xx = np.meshgrid(*[np.linspace(-1, 1, SIDE, dtype=np.float32)] * 3, indexing="ij")
    wave = np.sin(4 * xx + k) * np.cos(3 * yy - k) * np.sin(5 * zz + 2 * k)
    noise = generator(f"volume{k}").standard_normal((SIDE,) * 3, np.float32)
    return np.clip(0.5 + 0.3 * wave + 0.1 * noise, 0, 1).astype(np.float32)


def difference(found: Any, expected: np.ndarray) -> float:
    return float(np.abs(np.asarray(found) - expected).max())


def rounded(differences: Any) -> float:
    return float(f"{np.abs(np.asarray(differences)).max():.2g}")


if __name__ == "__main__":
    main()
