import flax.linen as nn
import jax
import numpy as np
import pytest

from mskjax import models
from mskjax.explain.attribution import randomised, rank_correlation, share_inside, structural_similarity
from mskjax.models.layers import BatchNorm, Conv, Linear

IMAGE = jax.random.normal(jax.random.key(0), (4, 33, 33, 3)) * 2 + 3


class Small(nn.Module):
    """Two convolutions with BatchNorm, and a head."""

    @nn.compact
    def __call__(self, image, *, train: bool = False):
        for index in (1, 2):
            image = Conv(4, size=3, stride=2, name=f"conv{index}")(image)
            image = nn.relu(BatchNorm(name=f"bn{index}")(image, train=train))
        return {"logits": Linear(2, name="fc")(image.mean((1, 2)))}


@pytest.fixture(scope="module")
def network():
    return Small(), models.init(Small(), jax.random.key(0), IMAGE)


def changed(before, after):
    """The submodules of which a variable has changed."""
    differs = jax.tree_util.tree_map(lambda a, b: bool((a != b).any()), before, after)
    paths = [path for path, value in jax.tree_util.tree_leaves_with_path(differs) if value]
    return {"/".join(str(entry.key) for entry in path[1:-1]) for path in paths}


def test_share_of_what_speaks_for_the_class():
    mask = np.eye(2, dtype=bool)
    assert share_inside(np.array([[1.0, 2.0], [3.0, 4.0]]), mask) == 0.5
    assert share_inside(np.array([[1.0, -2.0], [3.0, -4.0]]), mask) == 0.25, "what speaks against does not count"
    assert share_inside(np.ones((2, 2)), mask) == mask.mean(), "an even map has the share of chance"
    assert np.isnan(share_inside(np.array([[0.0, -1.0], [0.0, 0.0]]), mask))


def test_rank_correlation_knows_order_alone():
    values = np.array([[1.0, 5.0], [2.0, 9.0]])
    assert rank_correlation(values, np.exp(values)) == pytest.approx(1)
    assert rank_correlation(values, -values) == pytest.approx(-1)
    # 1 - 6 sum(d^2) / (n (n^2 - 1)) of the ranks 1 3 2 4 and 1 2 3 4
    assert rank_correlation(values, np.array([[1.0, 2.0], [3.0, 4.0]])) == pytest.approx(0.8)
    assert np.isnan(rank_correlation(values, np.zeros((2, 2))))
    assert np.isnan(rank_correlation(values, np.array([[1.0, np.nan], [2.0, 3.0]])))


def test_structural_similarity_knows_no_factor():
    values = np.random.default_rng(1).uniform(size=(16, 16))
    assert structural_similarity(values, 3 * values) == pytest.approx(1)
    assert structural_similarity(values - 0.5, 0.5 - values) < -0.5
    assert structural_similarity(values, np.zeros((16, 16))) < 0.1
    for other in (np.full((16, 16), np.nan), values[:6, :6]):
        assert np.isnan(structural_similarity(other, other))
    assert np.isnan(structural_similarity(np.zeros((16, 16)), np.zeros((16, 16))))


def test_randomisation_goes_top_down(network):
    module, variables = network
    assert changed(variables, randomised(module, variables, IMAGE, jax.random.key(1), 1)) == {"fc"}
    assert changed(variables, randomised(module, variables, IMAGE, jax.random.key(1), 3)) == {"fc", "bn2", "conv2"}
    everything = {"conv1", "bn1", "conv2", "bn2", "fc"}
    assert changed(variables, randomised(module, variables, IMAGE, jax.random.key(1))) == everything


def test_fresh_batch_norm_has_the_statistics_of_what_it_is_given(network):
    """So that in evaluation the network behind it answers as it would in training."""
    module, variables = network
    fresh = randomised(module, variables, IMAGE, jax.random.key(1))
    trained, _ = module.apply(fresh, IMAGE, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(module.apply(fresh, IMAGE)["logits"], trained["logits"], rtol=1e-3, atol=1e-4)


def test_equal_keys_give_equal_weights(network):
    module, variables = network
    one, again, other = (randomised(module, variables, IMAGE, jax.random.key(k), 1) for k in (1, 1, 2))
    assert not changed(one, again)
    assert changed(one, other) == {"fc"}


def test_a_network_without_batch_norm():
    class Linear(nn.Module):
        @nn.compact
        def __call__(self, image):
            return nn.Dense(2)(image.mean((1, 2)))

    variables = Linear().init(jax.random.key(0), IMAGE)
    assert changed(variables, randomised(Linear(), variables, IMAGE, jax.random.key(1))) == {"Dense_0"}


@pytest.mark.parametrize("layers", [0, 1000])
def test_layers_that_are_not_there_are_refused(network, layers):
    module, variables = network
    with pytest.raises(ValueError, match=f"{layers} layers are to be randomised; the network has"):
        randomised(module, variables, IMAGE, jax.random.key(1), layers)
