"""What a small segmenter's training is lowered to for each platform, read from the program."""

import jax
import jax.numpy as jnp
from lowered import Lowered

from mskjax import models
from mskjax.models import image_convolution, layers

OPERATIONS = ("convolution", "dot_general", "concatenate", "pad", "slice", "maximum", "select")
IMAGE = jnp.zeros((2, 16, 16, 3))


def traced(blocks=1):
    """The gradient's trace, of a network with so many blocks in its first stage and one in the others."""
    module = models.build("fcn_resnet101", stage_sizes=(blocks, 1, 1, 1), width=4, num_classes=2, dropout=0.0)
    variables = models.init(module, jax.random.key(0), IMAGE)

    def loss(variables):
        outputs, _ = module.apply(variables, IMAGE, train=True, mutable=["batch_stats"])
        return outputs["logits"].sum()

    return jax.jit(jax.grad(loss)).trace(variables)


def test_large_kernels_have_forms_of_their_own_on_the_cpu_and_cost_nothing_elsewhere(monkeypatch):
    monkeypatch.setattr(image_convolution, "MANY", 1)
    with_forms = traced()
    monkeypatch.setattr(layers, "convolve_image", image_convolution._convolve)
    plain = Lowered(traced(), "cuda").done(OPERATIONS)
    assert Lowered(with_forms, "cuda").done(OPERATIONS) == Lowered(with_forms, "tpu").done(OPERATIONS) == plain
    found = Lowered(with_forms, "cpu").done(OPERATIONS)
    of_strides = 7 * 7 + 3 * 3  # kernel gradients of the stem and of the second stage
    of_minimal_filters = 3 * 4 * 3  # the result and two gradients, of four rows of three pixels
    others = 4  # the other stages and the head
    assert found["dot_general"] == plain["dot_general"] + of_strides + others * of_minimal_filters


def test_layers_of_one_shape_are_traced_once_forward_and_backward(monkeypatch):
    """Two more blocks, like one that is there, add calls to the program and no functions."""
    monkeypatch.setattr(image_convolution, "MANY", 1)
    few, many = (Lowered(traced(blocks), "cpu") for blocks in (2, 4))
    for name in ("_convolve_with_many", "_backward", "_multiplied", "_normalised", "moments", "relu"):
        assert few.written[name] == many.written[name] > 0, name
        assert few.called[name] < many.called[name], name
