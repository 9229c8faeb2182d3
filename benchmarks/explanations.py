"""Times LIME against forward passes and against the lime package, and counts what Grad-CAM compiles.

    python -m pip install --no-deps --target=FOLDER lime scikit-learn joblib threadpoolctl
    python -m benchmarks.explanations --peers=FOLDER [--model=resnet50] [--samples=100] [--only=grad_cam]

LIME's perturbations of a 224x224 slice are to cost at most a tenth more than as many forward passes in batches of the
same size, and less than the lime package with the same network, batch size and superpixels; each figure is the median
of `--repeats` rounds in which all take turns. CPU seconds are told beside seconds, since they hold on a busy machine.
Grad-CAM explains 79 images of 224x224 pixels in one compiled call, 16 at a time; peak memory is the whole process's.
Without the package its figures are left out.
"""

import argparse
import importlib
import resource
import statistics
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import jax
import numpy as np
from jax.tree_util import Partial

from benchmarks import common
from mskjax import models
from mskjax.data import phantom
from mskjax.explain import grad_cam, lime
from mskjax.explain.grad_cam import last_feature_map
from mskjax.explain.superpixels import superpixels

SIDE, CAM_IMAGES, CAM_BATCH = 224, 79, 16


def seconds(function: Callable[[], Any]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    jax.block_until_ready(function())
    return time.perf_counter() - wall, time.process_time() - cpu


def in_turns(functions: dict[str, Callable[[], Any]], repeats: int) -> dict[str, tuple[float, float]]:
    for function in functions.values():
        jax.block_until_ready(function())
    rounds = [{name: seconds(function) for name, function in functions.items()} for _ in range(repeats)]
    return {
        name: (statistics.median(r[name][0] for r in rounds), statistics.median(r[name][1] for r in rounds))
        for name in functions
    }


def by_package(predict: Callable[[np.ndarray], np.ndarray], image: np.ndarray, segments: np.ndarray, given: Any) -> Any:
    explainer = importlib.import_module("lime.lime_image").LimeImageExplainer(random_state=0)
    return explainer.explain_instance(
        image,
        predict,
        top_labels=1,
        num_samples=given.samples,
        batch_size=given.batch_size,
        segmentation_fn=lambda _: segments,
    )


def time_lime(given: Any) -> dict[str, Any]:
    module = models.build(given.model, num_classes=2)
    example = jax.ShapeDtypeStruct((1, SIDE, SIDE, 3), np.float32)
    variables = jax.device_put(models.init(module, jax.random.key(0), example))

    def predict(variables: Any, image: Any) -> jax.Array:
        outputs: Any = module.apply(variables, image)
        return jax.nn.softmax(outputs["logits"])

    forward, key = jax.jit(predict), jax.random.key(0)
    grey = np.clip((phantom.slices(1, SIDE).image_hu[0].astype(np.float32) + 175) / 425, 0, 1)
    image = np.repeat(grey[..., None], 3, axis=-1)
    batch = np.repeat(image[None], given.batch_size, axis=0)
    functions: dict[str, Callable[[], Any]] = {
        "forward": lambda: [forward(variables, batch) for _ in range(given.samples // given.batch_size)],
        "lime": lambda: lime(Partial(predict, variables), image, given.samples, key, batch_size=given.batch_size),
    }
    if find_spec("lime"):
        answer, segments = lambda images: np.asarray(forward(variables, images)), superpixels(image)
        functions["package"] = lambda: by_package(answer, image, segments, given) and None
    taken = in_turns(functions, given.repeats)
    figures = {f"{name}_s": round(wall, 2) for name, (wall, _) in taken.items()}
    for other in taken.keys() - {"lime"}:
        names = (f"lime_over_{other}", f"lime_over_{other}_cpu")
        figures |= {name: round(taken["lime"][k] / taken[other][k], 3) for k, name in enumerate(names)}
    return figures


def time_grad_cam(model: str) -> dict[str, Any]:
    module = models.build(model, num_classes=2)
    image = np.random.default_rng(0).normal(size=(CAM_IMAGES, SIDE, SIDE, 3)).astype(np.float32)
    variables = jax.device_put(models.init(module, jax.random.key(0), image[:1]))
    layer = last_feature_map(module, variables, image[:1])
    compiled = importlib.import_module("mskjax.explain.grad_cam")._in_batches
    targets: tuple[Any, Any] = (0, np.arange(CAM_IMAGES) % 2)
    (first, _), (again, _) = (
        seconds(lambda target=target: grad_cam(module, variables, image, target, layer, CAM_BATCH))
        for target in targets
    )
    peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # in KiB on Linux
    figures = {"images": CAM_IMAGES, "layer": layer, "compilations": compiled._cache_size()}
    figures |= {"first_s": round(first, 2), "again_s": round(again, 2), "peak_gib": round(peak_gib, 2)}
    return {f"grad_cam_{name}": value for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", default="inception_v3")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--batch_size", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=("lime", "grad_cam"))
    parser.add_argument("--peers", default="", help="a folder of packages with lime, where it is not installed")
    given = parser.parse_args()
    sys.path += [given.peers] if given.peers else []
    if given.samples % given.batch_size:
        parser.error(f"--samples={given.samples} is no multiple of --batch_size={given.batch_size}")
    figures = {} if given.only == "grad_cam" else time_lime(given)
    figures |= {} if given.only == "lime" else time_grad_cam(given.model)
    asked = {name: value for name, value in vars(given).items() if name != "peers"}
    common.report("explanations", **asked, **figures)


if __name__ == "__main__":
    main()
