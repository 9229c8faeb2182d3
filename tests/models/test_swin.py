import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mskjax.models.swin import (
    Block,
    Merging,
    WindowAttention,
    join_windows,
    relative_positions,
    shifted_regions,
    split_windows,
)

KEY = jax.random.key(0)
SIDES = (8, 4, 12)


def places(sides):
    """A volume whose three channels tell each position's own place."""
    return jnp.asarray(np.stack(np.meshgrid(*map(np.arange, sides), indexing="ij"), -1)[None], jnp.float32)


def random(*shape):
    return jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)


def test_windows_hold_neighbours_in_the_order_of_the_axes():
    windows = split_windows(places(SIDES), 4)
    assert windows.shape == (1, 2 * 1 * 3, 64, 3)
    np.testing.assert_array_equal(windows[0, 0], list(itertools.product(range(4), repeat=3)))
    np.testing.assert_array_equal(windows[0, 4, 0], (4, 0, 4))


def test_windows_go_back_to_where_they_came_from():
    volume = places(SIDES)
    np.testing.assert_array_equal(join_windows(split_windows(volume, 4), SIDES, "inverse"), volume)


def test_the_official_order_lays_them_elsewhere():
    """As the official code's own lines do: axes 0, 1, 3, 5, 2, 4, 6, 7 of [b, windows, positions, c]."""
    volume = places((8, 8, 8))
    windows = split_windows(volume, 4)
    joined = np.asarray(join_windows(windows, (8, 8, 8), "official"))
    cut = np.asarray(windows).reshape(1, 2, 2, 2, 4, 4, 4, 3)
    for a, b, c, i, j, k in itertools.product(range(2), range(2), range(2), range(4), range(4), range(4)):
        flat = ((((a * 2 + c) * 4 + j) * 2 + b) * 4 + i) * 4 + k  # where that order puts the position
        np.testing.assert_array_equal(joined.reshape(-1, 3)[flat], cut[0, a, b, c, i, j, k])
    assert (joined != np.asarray(volume)).any()


def test_pairs_with_the_same_difference_share_a_row_of_the_table():
    rows, positions = relative_positions(4), list(itertools.product(range(4), repeat=3))
    assert len(np.unique(rows)) == 7**3
    for query, key in ((0, 63), (63, 0), (5, 17), (21, 21)):
        d, h, w = np.subtract(positions[query], positions[key]) + 3
        assert rows[query, key] == (d * 7 + h) * 7 + w


def test_regions_part_what_only_the_shift_has_brought_together():
    """Positions of one window attend to each other if they were neighbours before the shift: within 4 on each axis."""
    sides, regions = (8, 8, 4), shifted_regions((8, 8, 4), 4, 2)
    before = np.asarray(split_windows(jnp.roll(places(sides), (-2, -2, -2), (1, 2, 3)), 4)[0])
    near = (np.abs(before[:, :, None] - before[:, None]) < 4).all(-1)
    alike = regions[:, :, None] == regions[:, None]
    # On an axis of one window alone the shift parts its halves, although they lie within 4 of each other.
    halves = (before[:, :, None, 2] < 2) == (before[:, None, :, 2] < 2)
    np.testing.assert_array_equal(alike, near & halves)


def attention(windows, regions, heads=2):
    layer = WindowAttention(heads, 2)
    variables = layer.init(KEY, windows, regions)
    return layer, variables


def test_attention_against_its_formula():
    windows = random(1, 3, 8, 6)
    regions = np.array([[0, 0, 0, 0, 1, 1, 1, 1]] * 3, np.int32)
    layer, variables = attention(windows, regions)
    params = jax.tree.map(np.asarray, variables["params"])
    joined = np.asarray(windows) @ params["qkv"]["kernel"]
    expected = np.zeros_like(windows)
    for window, head in itertools.product(range(3), range(2)):
        query, key, value = (joined[0, window, :, 6 * part + 3 * head :][:, :3] for part in range(3))
        scores = query @ key.T / np.sqrt(3) + params["relative_position_bias"][relative_positions(2), head]
        scores[regions[window][:, None] != regions[window]] -= 100
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        expected[0, window, :, 3 * head : 3 * head + 3] = weights / weights.sum(-1, keepdims=True) @ value
    expected = expected @ params["proj"]["kernel"] + params["proj"]["bias"]
    np.testing.assert_allclose(layer.apply(variables, windows, regions), expected, rtol=1e-4, atol=1e-5)


def fresh(block, volume):
    """Its variables, and its outputs in evaluation as a compiled function of variables and volume."""
    evaluate = jax.jit(functools.partial(block.apply, train=False))
    return jax.jit(functools.partial(block.init, train=False))(KEY, volume), evaluate


@pytest.mark.parametrize("shift", [0, 2])
def test_a_block_reaches_as_far_as_its_window(shift):
    """A change at one position changes its own window alone, which lies elsewhere after a shift."""
    block = Block(2, 4, shift, 0.0, "inverse")
    volume = random(1, 8, 8, 8, 4)
    variables, evaluate = fresh(block, volume)
    changed = volume.at[0, 3, 3, 3, 0].add(1.0)
    difference = jnp.abs(evaluate(variables, changed) - evaluate(variables, volume))
    touched = np.argwhere(np.asarray(difference[0]).max(-1) > 1e-6)
    first = 0 if shift == 0 else 2
    np.testing.assert_array_equal(touched.min(0), [first] * 3)
    np.testing.assert_array_equal(touched.max(0), [first + 3] * 3)


def test_a_dropped_block_is_its_shortcut_and_the_others_are_stronger():
    block = Block(2, 4, 0, 0.5)
    volume = random(16, 4, 4, 4, 4)
    variables, evaluate = fresh(block, volume)
    trained = jax.jit(functools.partial(block.apply, train=True))(variables, volume, rngs={"dropout": KEY})
    same = np.asarray((trained == volume).all((1, 2, 3, 4)))
    assert 0 < same.sum() < 16  # both of its two parts: a quarter of the examples

    def attended(volume):  # with the perceptron's part dropped
        silent = jax.tree.map(jnp.array, variables)
        silent["params"]["fc2"] = jax.tree.map(jnp.zeros_like, silent["params"]["fc2"])
        return evaluate(silent, volume)

    doubled = volume + 2 * (attended(volume) - volume)
    assert any(np.allclose(one, other, atol=1e-5) for one, other in zip(trained, doubled, strict=True))


def test_in_bfloat16_a_block_is_near():
    volume = random(1, 8, 8, 8, 8)
    variables, evaluate = fresh(Block(2, 4, 2, 0.0), volume)
    expected = evaluate(variables, volume)
    coarse = jax.jit(functools.partial(Block(2, 4, 2, 0.0, dtype=jnp.bfloat16).apply, train=False))
    found = coarse(variables, volume.astype(jnp.bfloat16))
    assert found.dtype == jnp.bfloat16
    np.testing.assert_allclose(found.astype(jnp.float32), expected, atol=0.05)


def test_sides_that_no_window_divides_are_padded_and_come_back():
    block = Block(2, 4, 2, 0.0)
    volume = random(1, 6, 6, 6, 4)
    variables, evaluate = fresh(block, volume)
    assert evaluate(variables, volume).shape == volume.shape


def test_merging_joins_eight_positions_in_the_published_order():
    volume = places((4, 4, 4))
    merging = Merging()
    variables = merging.init(KEY, volume)
    params = variables["params"]
    params["norm"]["scale"], params["norm"]["bias"] = jnp.ones(24), jnp.zeros(24)
    corners = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1), (1, 0, 1), (1, 1, 1)]
    joined = np.concatenate([np.asarray(volume)[:, i::2, j::2, k::2] for i, j, k in corners], -1)
    normed = (joined - joined.mean(-1, keepdims=True)) / np.sqrt(joined.var(-1, keepdims=True) + 1e-5)
    expected = normed @ np.asarray(params["reduction"]["kernel"])
    np.testing.assert_allclose(merging.apply(variables, volume), expected, rtol=1e-4, atol=1e-4)
