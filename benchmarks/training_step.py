"""The compiled functions of `launch.train` on slices of noise: their times and operations."""

import functools
import math
import time
from collections import deque
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from mskjax import models, tasks
from mskjax.models.layers import Conv, Linear
from mskjax.training import optim, sharding
from mskjax.training.loop import RUN_AHEAD
from mskjax.training.state import create
from mskjax.training.step import compile_steps

SLICES, SPACING_MM, LEARNING_RATE = 204, 0.8, 3e-4
VALIDATING = 42  # slices: of study A's four folds of 167 patients the largest


class TrainingStep:
    """A run of study A's segmentation whose step is compiled, with augmentation, on one device."""

    def __init__(self, batch_size: int, size: int, stages: tuple[int, ...], dtype: str, width: int = 64):
        model = {"name": "fcn_resnet101", "num_classes": 1, "stage_sizes": stages, "width": width, "dtype": dtype}
        task = tasks.build({"name": "segmentation", "model": model, "augmentation": {}, "freeze": ()})
        optimizer, mesh = optim.adam(), sharding.make_mesh(1, batch_size)
        self.batch_size, self.random = batch_size, np.random.default_rng(0)
        self.arrays = jax.device_put(self._noise(size), sharding.whole(mesh))
        params, model_state = task.init(jax.random.key(0), tasks.examples(task, 1, size))
        trained, _ = optim.split(params, task.freeze)
        self.state = sharding.stack([create(params, model_state, optimizer.init(trained), jax.random.key(0))], mesh)
        self.steps = compile_steps(task, optimizer, mesh)
        start, step = time.perf_counter(), self.steps.train
        self.compiled: Any = step.lower(self.state, *self._arguments()).compile()  # pyright: ignore
        self.compilation_s = time.perf_counter() - start
        # The backward pass computes two products of the size of each forward one.
        self.flops = 3 * forward_flops(task.module, (batch_size, size, size, 3))

    def step_s(self, steps: int) -> float:
        """Seconds of a step, the host being as far ahead of the device as in training."""
        losses: deque[jax.Array] = deque()
        start = time.perf_counter()
        for _ in range(steps):
            self.state, metrics = self.compiled(self.state, *self._arguments())
            losses.append(metrics["loss"])
            if len(losses) > RUN_AHEAD:
                np.asarray(losses.popleft())
        jax.block_until_ready(self.state)
        return (time.perf_counter() - start) / steps

    def epoch_end_s(self) -> float:
        """Seconds of the validation and the choice of weights that end an epoch of study A."""
        start, weights = time.perf_counter(), np.ones((1, self.batch_size), np.float32)
        sums = tuple(
            self.steps.evaluate(self.state.params, self.state.model_state, self.arrays, self._rows(), weights)
            for _ in range(math.ceil(VALIDATING / self.batch_size))
        )
        self.state, metrics = self.steps.end_epoch(self.state, sums)
        jax.device_get(metrics)
        return time.perf_counter() - start

    def _arguments(self) -> tuple[Any, ...]:
        return self.arrays, self._rows(), np.array([LEARNING_RATE], np.float32), np.array([True])

    def _rows(self) -> np.ndarray:
        return self.random.integers(0, SLICES, (1, self.batch_size), np.int32)

    def _noise(self, size: int) -> dict[str, np.ndarray]:
        shape = (SLICES, size, size)
        return {
            "image_hu": self.random.integers(-1024, 1500, shape, np.int16),
            "mask": self.random.integers(0, 2, shape, np.uint8),
            "spacing_mm": np.full((SLICES, 2), SPACING_MM, np.float32),
        }


def forward_flops(module: nn.Module, shape: tuple[int, ...]) -> int:
    """Operations of the convolutions and linear layers of a forward pass, two for each product that is added up.

    Zeros beyond an image's edges count, as is usual; all else, some hundredths, does not. Nothing is computed.
    """
    variables: Any = models.abstract(module)
    applied = functools.partial(
        module.apply, capture_intermediates=is_product, mutable=["intermediates", "batch_stats"]
    )
    keys = {"dropout": jax.random.key(0)}
    image = jax.ShapeDtypeStruct(shape, jnp.float32)
    _, found = jax.eval_shape(
        lambda variables, image: applied(variables, image, train=True, rngs=keys), variables, image
    )
    outputs: Any = flatten_dict(found["intermediates"])
    kernels: Any = flatten_dict(variables["params"])
    return sum(
        2 * math.prod(output.shape[:-1]) * math.prod(kernels[*path[:-1], "kernel"].shape)
        for path, (output, *_) in outputs.items()
    )


def is_product(module: nn.Module, method: str) -> bool:
    """Whether a method's result is that of a layer which multiplies by a kernel."""
    return isinstance(module, Conv | Linear) and method == "__call__"


def peak_flops(side: int, repeats: int = 20) -> float:
    """Operations a second of a product of two square bfloat16 matrices of random numbers: what the device can reach."""
    left, right = (jax.random.normal(key, (side, side), jnp.bfloat16) for key in jax.random.split(jax.random.key(0)))
    product = jax.jit(jnp.matmul)
    for count in (3, repeats):  # the first warms up
        start = time.perf_counter()
        jax.block_until_ready([product(left, right) for _ in range(count)])
        seconds = time.perf_counter() - start
    return 2 * side**3 * repeats / seconds
