import jax
import jax.numpy as jnp
import numpy as np

from mskjax.models.moments import moments


def by_definition(values):
    axes = tuple(range(values.ndim - 1))
    mean = values.mean(axes)
    return mean, ((values - mean) ** 2).mean(axes)


def normalised(moments):
    """A sum that depends on all values through their moments, of odd powers so that nothing cancels."""

    def total(values):
        mean, variance = moments(values)
        return (((values - mean) / jnp.sqrt(variance + 0.1)) ** 3 + 0.2 * variance * mean).sum()

    return total


def slope_and_curvature(function, values, change):
    """The gradient, and how it changes along `change`."""
    return jax.jit(lambda values: jax.jvp(jax.grad(function), (values,), (change,)))(values)


def test_first_and_second_derivatives_are_those_of_the_definition():
    with jax.enable_x64(True):
        values = jnp.asarray(np.random.default_rng(0).normal(5, 2, (2, 2, 1, 2)))
        change = jnp.cos(values)
        found, expected = (slope_and_curvature(normalised(each), values, change) for each in (moments, by_definition))
        for ours, defined in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, defined, rtol=1e-9, atol=1e-9)


def test_the_gradient_of_the_variance_sums_nothing_over_the_batch():
    def reductions(moments):
        def back(values, cotangent):
            return jax.vjp(lambda values: moments(values)[1], values)[1](cotangent)[0]

        shapes = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((4, 3, 3, 2), (2,)))
        return jax.jit(back).lower(*shapes).as_text().count("stablehlo.reduce(")

    assert (reductions(moments), reductions(by_definition)) == (1, 3)
