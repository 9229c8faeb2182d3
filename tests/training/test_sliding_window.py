import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mskjax.training.sliding_window import predict, windows


def random(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def twice(cut):
    return jnp.stack([cut, 2 * cut], -1)


@pytest.mark.parametrize("shape", [(8, 8, 8), (9, 14, 21), (3, 8, 30), (2, 3, 4)])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_what_depends_on_a_voxel_alone_is_as_without_windows(shape, overlap, batch_size):
    volume = random(*shape)
    found = predict(twice, volume, 8, overlap, batch_size)
    np.testing.assert_allclose(found, np.stack([volume, 2 * volume], -1), rtol=1e-6)


@pytest.mark.parametrize(
    ("length", "side", "overlap", "starts"),
    [
        (96, 96, 0.5, [0]),
        (97, 96, 0.5, [0, 1]),
        (275, 96, 0.5, [0, 48, 96, 144, 179]),  # ceil((275 - 96) / 48) + 1 windows, the last moved back to the edge
        (288, 96, 0.0, [0, 96, 192]),
        (200, 96, 0.25, [0, 72, 104]),
    ],
)
def test_windows_lie_as_monai_lays_them(length, side, overlap, starts):
    found = windows((length, side, side), side, overlap)
    assert [place[0].start for place in found] == starts
    assert all(one.stop - one.start == side for place in found for one in place)


def test_where_windows_overlap_their_mean_is_taken():
    """Windows of 4 at 0, 2 and 4 of a line of 8; each says its own first value."""

    def first(cut):
        return jnp.broadcast_to(cut[:, :1, :1, :1, None], (*cut.shape, 1))

    volume = np.broadcast_to(np.arange(8, dtype=np.float32)[:, None, None], (8, 4, 4)).copy()
    found = predict(first, volume, 4, 0.5)[:, 0, 0, 0]
    np.testing.assert_allclose(found, [0, 0, 1, 1, 3, 3, 4, 4])


def test_one_compilation_serves_volumes_of_all_sizes():
    traced = []

    @jax.jit
    def forward(cut):
        traced.append(cut.shape)
        return cut[..., None]

    for shape in ((8, 8, 8), (20, 9, 11), (3, 3, 3)):
        predict(forward, random(*shape), 8, 0.5, 3)
    assert traced == [(3, 8, 8, 8)]


def test_an_overlap_that_moves_no_window_is_refused():
    with pytest.raises(ValueError, match=r"overlap of windows is 1.0; it must be at least 0 and below 1"):
        predict(twice, random(8, 8, 8), 8, 1.0)
