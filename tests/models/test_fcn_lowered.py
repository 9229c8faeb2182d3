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


def test_large_kernels_are_differentiated_by_products_on_the_cpu_and_cost_nothing_elsewhere(monkeypatch):
    monkeypatch.setattr(image_convolution, "MANY", 1)
    with_products = traced()
    monkeypatch.setattr(layers, "convolve_image", image_convolution._convolve)
    plain = operations(traced(), "cuda")
    assert operations(with_products, "cuda") == operations(with_products, "tpu") == plain
    found = operations(with_products, "cpu")
    assert found["dot_general"] == plain["dot_general"] + 7 * 7 + 5 * 3 * 3  # the stem, four blocks and the head
