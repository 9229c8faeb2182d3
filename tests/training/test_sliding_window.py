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


def test_what_is_padded_is_what_was_asked_for():
    """HU of air, in the volume's own type: a window of 8 about 2x8x8 voxels has 3 planes of it on each side."""
    seen = []

    def forward(cut):
        seen.append(cut)
        return jnp.zeros((*cut.shape, 1))

    predict(forward, np.full((2, 8, 8), 40, np.int16), 8, padding=-1024)
    assert seen[0].dtype == np.int16
    assert seen[0][0, :, 0, 0].tolist() == [-1024] * 3 + [40] * 2 + [-1024] * 3


def counted(calls):
    """Says of each voxel its window's mean, and counts the windows that it is given."""

    def forward(cut):
        calls.append(cut.shape)
        return jnp.broadcast_to(jnp.mean(cut, (1, 2, 3), keepdims=True)[..., None], (*cut.shape, 1))

    return forward


@pytest.mark.parametrize(
    ("needed", "layers"), [(slice(5, 6), 2), (slice(0, 1), 1), (slice(7, 9), 3), (slice(None), 5), (slice(23, 24), 1)]
)
def test_only_windows_that_touch_what_is_needed_are_computed(needed, layers):
    """Windows of 8 begin at 0, 4, 8, 12 and 16 of 24 planes."""
    volume, calls = random(9, 8, 24), []
    whole = predict(counted([]), volume, 8)
    found = predict(counted(calls), volume, 8, needed=needed)
    assert len(calls) == 2 * layers
    np.testing.assert_array_equal(found[:, :, needed], whole[:, :, needed])
    others = np.delete(found, np.arange(24)[needed], axis=2)
    assert not others.any()


def test_what_is_needed_of_a_volume_smaller_than_a_window():
    volume = random(3, 4, 5)
    found = predict(twice, volume, 8, needed=slice(1, 3))
    np.testing.assert_allclose(found[:, :, 1:3, 0], volume[:, :, 1:3], rtol=1e-6)
    assert not found[:, :, [0, 3, 4]].any()


def test_no_plane_is_no_question():
    with pytest.raises(ValueError, match="planes 5 to 5 of a volume of 8 planes are none"):
        predict(twice, random(8, 8, 8), 8, needed=slice(5, 5))


def test_how_far_it_is_can_be_shown():
    shown = []

    def progress(starts):
        for start in starts:
            shown.append(start)
            yield start

    predict(twice, random(8, 8, 24), 8, batch_size=2, progress=progress)
    assert shown == [0, 2, 4]
