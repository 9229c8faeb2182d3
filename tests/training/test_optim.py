import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mskjax.training import optim


@pytest.mark.parametrize("weight_decay", [0.0, 0.25])
def test_the_direction_of_adam_and_adamw(weight_decay):
    """Two steps of Loshchilov and Hutter's algorithm 2, worked out in float64, at a rate of 0.1."""
    optimizer = optim.adam(weight_decay)
    leaves = {"backbone/a": jnp.array([1.0, -2.0]), "head/b": jnp.array([0.5])}
    state = optimizer.init(leaves)
    expected = {name: np.asarray(leaf, np.float64) for name, leaf in leaves.items()}
    first, second = ({name: np.zeros(leaf.shape) for name, leaf in leaves.items()} for _ in range(2))
    for step in (1, 2):
        gradient = {name: 2 * leaf + step for name, leaf in leaves.items()}
        direction, state = optimizer.update(gradient, state, leaves)
        for name, leaf in expected.items():
            slope = 2 * leaf + step
            first[name] = 0.9 * first[name] + 0.1 * slope
            second[name] = 0.999 * second[name] + 0.001 * slope**2
            mean, square = first[name] / (1 - 0.9**step), second[name] / (1 - 0.999**step)
            expected[name] = leaf - 0.1 * (mean / (np.sqrt(square) + 1e-8) + weight_decay * leaf)
        leaves = {name: leaf - 0.1 * direction[name] for name, leaf in leaves.items()}
    for name, leaf in leaves.items():
        np.testing.assert_allclose(leaf, expected[name], rtol=1e-5)


@pytest.mark.parametrize("weight_decay", [0.0, 0.25])
def test_it_begins_as_optaxs_own_does_in_the_hosts_memory(weight_decay):
    leaves = {"backbone/a": jnp.array([1.0, -2.0]), "head/b": np.ones((2, 3), np.float32)}
    found, expected = (optimizer.init(leaves) for optimizer in (optim.adam(weight_decay), optax.adamw(1.0)))
    found, expected = (optax.tree.get(state, "ScaleByAdamState") for state in (found, expected))
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(found))
    jax.tree.map(lambda ours, theirs: np.testing.assert_array_equal(ours, theirs, strict=True), found, expected)
