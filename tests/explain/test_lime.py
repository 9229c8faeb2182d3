import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

from mskjax.explain import lime
from mskjax.explain.superpixels import superpixels

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "lime" / "lime.npz")
inside = importlib.import_module("mskjax.explain.lime")  # in the package its name is the function's
KEY = jax.random.key(7)
QUARTERS = np.repeat(np.repeat([[0, 1], [2, 3]], 8, 0), 8, 1)


def brightness(images):
    """Of the upper left quarter, and less half of that of the lower right one."""
    return images[:, :8, :8].mean((1, 2, 3)) - images[:, 8:, 8:].mean((1, 2, 3)) / 2


@pytest.mark.parametrize("filling", ["mean", "zero"])
def test_coefficients_are_those_of_the_lime_package(filling):
    found = inside.coefficients(GOLDEN["shown"], GOLDEN[f"probability_{filling}"])
    np.testing.assert_allclose(found, GOLDEN[f"coefficient_{filling}"], rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(("filling", "fill"), [("mean", None), ("zero", 0.0)])
@pytest.mark.parametrize("batch_size", [7, 60, 100])
def test_the_same_perturbations_give_the_map_of_the_lime_package(monkeypatch, filling, fill, batch_size):
    def predict(images):
        probability = 0.2 + 0.6 * jnp.tanh((images * jnp.asarray(GOLDEN["weight"], jnp.float32)).mean((1, 2, 3)))
        return jnp.stack([1 - probability, probability], axis=1)

    monkeypatch.setattr(inside, "draw", lambda *arguments: np.pad(GOLDEN["shown"], ((0, 0), (0, 5))))
    segments = GOLDEN["segments"]
    found = lime(predict, GOLDEN["image"], 60, KEY, target=1, segments=segments, fill=fill, batch_size=batch_size)
    np.testing.assert_allclose(found[0], GOLDEN[f"coefficient_{filling}"][segments], atol=2e-7)


def test_of_a_linear_network_the_map_is_the_network():
    """Ridge regression shrinks the coefficients of 1 and -1/2 by the penalty alone, which 4,000 samples outweigh."""
    image = np.ones((16, 16), np.float32)
    (found,) = lime(brightness, image, 4000, KEY, segments=QUARTERS, fill=0)
    np.testing.assert_allclose(found[[0, 0, 15, 15], [0, 15, 0, 15]], [1, 0, 0, -0.5], atol=5e-3)
    assert (np.ptp(found[:8, :8]), np.ptp(found[8:, 8:])) == (0, 0)


def test_each_superpixel_is_hidden_half_of_the_time_but_not_in_the_first():
    shown = inside.draw(KEY, 2000, 5)
    assert shown.shape == (2000, 8)
    assert shown[0].all()
    np.testing.assert_allclose(shown[1:].mean(axis=0), 0.5, atol=0.05)  # 4.5 standard errors
    assert not (shown == inside.draw(jax.random.key(8), 2000, 5)).all()


def test_hidden_pixels_take_the_mean_of_their_superpixel(monkeypatch):
    image = np.random.default_rng(0).normal(size=(16, 16, 3)).astype(np.float32)
    monkeypatch.setattr(inside, "draw", lambda *arguments: np.array([[1, 1, 1, 1], [0, 0, 0, 0], [1, 0, 1, 1]], bool))
    seen = []

    def predict(images):
        jax.debug.callback(lambda values: seen.append(np.array(values)), images)
        return images.mean((1, 2, 3))

    lime(predict, image, 3, KEY, segments=QUARTERS)
    jax.effects_barrier()
    (images,) = seen
    np.testing.assert_array_equal(images[0], image)
    means = image.reshape(2, 8, 2, 8, 3).mean((1, 3))
    np.testing.assert_allclose(images[1], means.repeat(8, 0).repeat(8, 1), atol=1e-6)
    np.testing.assert_allclose(images[2][:8, 8:], np.broadcast_to(means[0, 1], (8, 8, 3)), atol=1e-6)
    np.testing.assert_array_equal(np.delete(images[2], np.s_[8:], 1), np.delete(image, np.s_[8:], 1))


def test_equal_keys_give_equal_maps_and_others_do_not():
    image = np.random.default_rng(1).uniform(size=(16, 16))
    one, again = (lime(brightness, image, 50, KEY) for _ in range(2))
    np.testing.assert_array_equal(one, again)
    assert (lime(brightness, image, 50, jax.random.key(8)) != one).any()
    twice = lime(brightness, np.stack([image, image]), 50, KEY)
    np.testing.assert_array_equal(twice[0], one[0])
    assert (twice[1] != one[0]).any(), "each image of a batch has perturbations of its own"


def test_images_of_all_forms():
    rng = np.random.default_rng(2)
    grey = rng.uniform(size=(2, 16, 16)).astype(np.float32)
    maps = lime(brightness, grey, 40, KEY)
    assert (maps.shape, maps.dtype) == ((2, 16, 16), np.float32)
    np.testing.assert_array_equal(lime(brightness, grey[0], 40, KEY), maps[:1])
    colour = np.repeat(grey[..., None], 3, axis=-1)
    np.testing.assert_allclose(lime(brightness, colour, 40, KEY), maps, atol=1e-5)
    np.testing.assert_allclose(lime(brightness, jnp.asarray(colour[0]), 40, KEY), maps[:1], atol=1e-5)
    np.testing.assert_allclose(
        lime(brightness, grey, 40, KEY, segments=QUARTERS),
        lime(brightness, grey, 40, KEY, segments=np.stack([3 * QUARTERS, 5 + QUARTERS])),
    )


def test_the_class_explained_is_the_one_asked_for_or_the_likeliest():
    def predict(images):
        value = brightness(images)
        return jnp.stack([-value, value, 0 * value], axis=1)

    image = np.zeros((16, 16), np.float32)
    image[:8, :8] = 1
    alone = lime(brightness, image, 40, KEY, segments=QUARTERS, fill=0)
    np.testing.assert_allclose(lime(predict, image, 40, KEY, segments=QUARTERS, fill=0), alone, atol=1e-6)
    np.testing.assert_allclose(lime(predict, image, 40, KEY, segments=QUARTERS, fill=0, target=0), -alone, atol=1e-6)


def test_all_images_and_weights_share_one_compiled_call():
    traced = []

    def predict(weight, images):
        traced.append(images.shape)
        return weight * brightness(images)

    images = np.random.default_rng(3).uniform(size=(3, 32, 32))
    before = inside._predict_all._cache_size()
    for weight in (1.0, 2.0):
        lime(Partial(predict, jnp.float32(weight)), images, 100, KEY, batch_size=48)
    assert inside._predict_all._cache_size() == before + 1
    assert set(traced) == {(34, 32, 32, 3)}, "three even batches"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"samples": 0}, "samples is 0"),
        ({"batch_size": 0}, "batch_size 0"),
        ({"image": np.zeros(9)}, r"the image has shape \(9,\)"),
        ({"image": np.zeros((2, 9, 9, 1))}, r"the image has shape \(2, 9, 9, 1\)"),
        ({"image": np.full((9, 9), np.nan)}, "not finite"),
        ({"predict": lambda images: images}, r"predict gives \[5, 16, 16, 3\] for 5 images"),
        ({"predict": lambda images: images.mean()}, r"predict gives \[\] for 5 images"),
        ({"predict": lambda images: jnp.full(len(images), jnp.nan)}, "predict gives values that are not finite"),
        ({"target": 1}, "target is 1; predict gives the classes 0 to 0"),
        ({"segments": np.zeros((4, 4), int)}, "segments are int64"),
        ({"segments": np.zeros((16, 16))}, "segments are float64"),
    ],
)
def test_what_cannot_be_explained_is_refused(arguments, sentence):
    usual = {"predict": brightness, "image": np.ones((16, 16)), "samples": 5, "key": KEY}
    with pytest.raises(ValueError, match=sentence):
        lime(**{**usual, **arguments})


def test_superpixels_follow_edges_and_know_no_scale():
    image = np.zeros((60, 60))
    image[20:40, 15:45] = 1
    found = superpixels(image, 30)
    assert set(found[image == 1].tolist()).isdisjoint(found[image == 0].tolist())
    assert 15 <= found.max() + 1 <= 30
    assert sorted(set(found.ravel().tolist())) == list(range(found.max() + 1))
    np.testing.assert_array_equal(superpixels(np.repeat(1000 - 400 * (1 - image)[..., None], 3, -1), 30), found)


def test_superpixels_of_what_has_no_edges():
    assert superpixels(np.full((40, 40), 3), 16).max() > 3
    with pytest.raises(ValueError, match="0 superpixels are asked for"):
        superpixels(np.ones((8, 8)), 0)
