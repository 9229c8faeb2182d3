"""What a small segmenter's training is lowered to for each platform, read from the program."""

import jax
import jax.numpy as jnp

from mskjax import models
from mskjax.models import image_convolution, layers

OPERATIONS = ("convolution", "dot_general", "concatenate", "pad", "slice", "maximum", "select")
IMAGE = jnp.zeros((2, 16, 16, 3))


def traced():
    module = models.build("fcn_resnet101", stage_sizes=(1, 1, 1, 1), width=4, num_classes=2, dropout=0.0)
    variables = models.init(module, jax.random.key(0), IMAGE)

    def loss(variables):
        outputs, _ = module.apply(variables, IMAGE, train=True, mutable=["batch_stats"])
        return outputs["logits"].sum()

    return jax.jit(jax.grad(loss)).trace(variables)


def operations(traced, platform):
    text = traced.lower(lowering_platforms=(platform,)).as_text()
    return {name: text.count(f"stablehlo.{name} ") + text.count(f"stablehlo.{name}(") for name in OPERATIONS}


def test_large_kernels_have_forms_of_their_own_on_the_cpu_and_cost_nothing_elsewhere(monkeypatch):
    monkeypatch.setattr(image_convolution, "MANY", 1)
    with_forms = traced()
    monkeypatch.setattr(layers, "convolve_image", image_convolution._convolve)
    plain = operations(traced(), "cuda")
    assert operations(with_forms, "cuda") == operations(with_forms, "tpu") == plain
    found = operations(with_forms, "cpu")
    of_strides = 7 * 7 + 3 * 3  # kernel gradients of the stem and of the second stage
    of_minimal_filters = 3 * 4 * 3  # the result and two gradients, of four rows of three pixels
    others = 4  # the other stages and the head
    assert found["dot_general"] == plain["dot_general"] + of_strides + others * of_minimal_filters
