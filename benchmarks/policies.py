"""Each network of study B at full size takes one training step under each policy on CPU, and what has moved is checked.

    python -m benchmarks.policies [--network=NAME ...] [--batch_size=8]

Prints one JSON line: of each network and policy the seconds of the step with its compilation, how many numbers learn,
and whether just the parameters and running statistics that the policy names have moved ("as_named", to be true
throughout). Weights are random. Some minutes, and 8 GB of memory, for all twelve.
"""

import argparse
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from benchmarks.common import report
from configs import classification
from mskjax import tasks
from mskjax.models import policies
from mskjax.training import optim, sharding
from mskjax.training.examples import choose
from mskjax.training.state import create
from mskjax.training.step import compile_steps

NETWORKS = ("densenet121", "inception_v3", "inception_resnet_v2", "keras_resnet50")
LEARNING_RATE = 1e-3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", action="append", choices=classification.NETWORKS, help="all of study B's if none")
    parser.add_argument("--batch_size", type=int, default=8)
    flags = parser.parse_args()
    names = [(network, policy) for network in flags.network or NETWORKS for policy in policies.POLICIES]
    found = {f"{network} {policy}": take_step(network, policy, flags.batch_size) for network, policy in names}
    report(
        "policies", batch_size=flags.batch_size, steps=found, as_named=all(row["as_named"] for row in found.values())
    )


def take_step(network: str, policy: str, batch_size: int) -> dict[str, Any]:
    """One step of the task of configs/classification.py on noise, and what it has moved."""
    config = classification.task(network, classification.variant_of(network), policy)
    task, optimizer, mesh = tasks.build(config), optim.adam(), sharding.make_mesh(1, batch_size)
    arrays = noise(batch_size)
    params, model_state = task.init(jax.random.key(0), {"image_hu": arrays["image_hu"]})
    trained, _ = optim.split(params, task.freeze)
    before = jax.tree.map(np.array, flatten_dict({"params": params, **model_state}, sep="/"))
    state = sharding.stack([create(params, model_state, optimizer.init(trained), jax.random.key(0))], mesh)
    indices = choose(range(batch_size), range(batch_size), batch_size).validation
    start = time.perf_counter()
    steps = compile_steps(task, optimizer, mesh)
    rate, active = np.array([LEARNING_RATE], np.float32), np.array([True])
    state, metrics = steps.train(state, jax.device_put(arrays, sharding.whole(mesh)), indices, rate, active)
    loss = float(np.asarray(metrics["loss"])[0])
    seconds = time.perf_counter() - start
    own = sharding.take(state, 0, mesh)
    after = flatten_dict({"params": own.params, **own.model_state}, sep="/")
    moved = {path for path, leaf in before.items() if (leaf != after[path]).any()}
    return {
        "step_s": round(seconds, 1),
        "loss": round(loss, 3),
        "learning": sum(leaf.size for leaf in trained.values()),
        "moved": len(moved),
        "as_named": moved == named(before, tasks.build_module(config["model"]), policy),
    }


def named(leaves: dict[str, np.ndarray], module: Any, policy: str) -> set[str]:
    """The paths that may move, told without the regexes that freeze the others: by the layer that a leaf belongs to."""
    learning = {path for _, path in policies.top_layers(module) if path} if policy == "unfreezetop10" else set()
    layers = {path: path.partition("/")[2].rpartition("/")[0] for path in leaves}
    return {path for path, layer in layers.items() if policy == "unfreezeall" or layer in learning | {"fc"}}


def noise(count: int) -> dict[str, jax.Array]:
    """Slices of noise as `mskjax.training.run.load` gives them, one label after the other."""
    generator = np.random.default_rng(0)
    return {
        "image_hu": jnp.asarray(generator.integers(-175, 250, (count, 224, 224)), jnp.int16),
        "mask": jnp.zeros((count, 224, 224), jnp.uint8),
        "spacing_mm": jnp.ones((count, 2)),
        "label": jnp.arange(count, dtype=jnp.int32) % 2,
    }


if __name__ == "__main__":
    main()
