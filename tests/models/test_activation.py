import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mskjax.models.activation import relu


def test_the_positive_part_and_its_derivative():
    values = jnp.array([-jnp.inf, -2.0, -0.0, 0.0, 3.0, jnp.inf])
    np.testing.assert_array_equal(relu(values), [0, 0, 0, 0, 3, jnp.inf])
    np.testing.assert_array_equal(jax.vjp(relu, values)[1](5 * jnp.ones(6))[0], [0, 0, 0, 0, 5, 5])
    np.testing.assert_array_equal(jax.jvp(relu, (values,), (5 * jnp.ones(6),))[1], [0, 0, 0, 0, 5, 5])


def test_what_is_not_a_number_is_not_hidden():
    assert np.isnan(relu(jnp.array([jnp.nan]))).all()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_the_type_is_kept(dtype):
    assert relu(jnp.ones(2, dtype)).dtype == dtype


def test_no_block_of_a_residual_network_adds_up_the_blocks_before_it():
    def network(values, kernels):
        for kernel in kernels:
            values = relu(values + relu(values @ kernel) @ kernel.T * 2 + 1)
        return values

    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((64, 32), (6, 32, 8))]
    text = jax.jit(network).lower(*shapes).compile().as_text()
    bodies = re.findall(r"^%?fused\S* \(.*?^}", text, re.M | re.S)
    assert bodies and max(len(re.findall(r" add\(", body)) for body in bodies) <= 2
