"""Evaluation of 79 slices by a network against Keras's own on the same JAX, in one run; one JSON line.

    python -m benchmarks.keras_speed --network=densenet121 --peers=FOLDER

FOLDER is the site-packages of an environment with Keras 3 for this Python; JAX is this one's. Both networks have fresh
weights of their own, are compiled once, and take turns; the ratio is of medians, below 1 where ours is faster. Keras is
also asked by `predict`, as its users do. Figure to reach: at most 1 for each of the four networks.
"""

import argparse
import os
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks.common import in_turns, report
from mskjax import models

KERAS = {
    "densenet121": "DenseNet121",
    "inception_v3": "InceptionV3",
    "inception_resnet_v2": "InceptionResNetV2",
    "keras_resnet50": "ResNet50",
}
IMAGES, SIZE = 79, 224


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=KERAS, required=True)
    parser.add_argument("--peers", required=True, help="site-packages with Keras 3")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    os.environ["KERAS_BACKEND"] = "jax"
    sys.path.append(arguments.peers)
    image = np.random.default_rng(0).uniform(-1, 1, (IMAGES, SIZE, SIZE, 3)).astype(np.float32)
    calls = {"ours": ours(arguments.network, image), **theirs(arguments.network, image)}
    medians = in_turns(calls, arguments.rounds)
    report(
        f"keras_speed_{arguments.network}",
        **{f"{name}_s": round(median, 2) for name, median in medians.items()},
        **{
            f"ratio_to_{name}": round(medians["ours"] / median, 2) for name, median in medians.items() if name != "ours"
        },
        rounds=arguments.rounds,
    )


def ours(network: str, image: np.ndarray) -> Callable[[], Any]:
    module = models.build(network)
    variables = jax.device_put(models.init(module, jax.random.key(0), image[:1]))
    features = jax.jit(lambda variables, image: module.apply(variables, image)["features"])  # pyright: ignore
    return lambda: jax.block_until_ready(features(variables, image))


def theirs(network: str, image: np.ndarray) -> dict[str, Callable[[], Any]]:
    import keras  # pyright: ignore[reportMissingImports]

    make = getattr(keras.applications, KERAS[network])
    model, asked = (make(include_top=False, weights=None, pooling="avg", input_shape=image.shape[1:]) for _ in "ab")
    trained, fixed = ([v.value for v in own] for own in (model.trainable_variables, model.non_trainable_variables))
    features = jax.jit(lambda trained, fixed, image: model.stateless_call(trained, fixed, image, training=False)[0])
    return {
        "keras_compiled": lambda: jax.block_until_ready(features(trained, fixed, image)),
        # On a model of its own, as it gives the buffers of its variables away.
        "keras_predict": lambda: asked.predict(image, batch_size=IMAGES, verbose=0),
    }


if __name__ == "__main__":
    main()
