import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mskjax.tasks.distillation_losses import losses, moved_centers, reconstruction_loss, teacher_temperatures

K, T = 5, 8


def random(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def outputs(seed):
    return {"patch_logits": random(4, T, K, seed=seed), "image_logits": random(4, K, seed=seed + 1)}


@pytest.fixture(scope="module")
def batch():
    """Two views of two scans."""
    volume = random(4, 32, 32, 32, 1, seed=8)
    student = {**outputs(0), "volume": volume, "reconstruction": random(4, 32, 32, 32, 1, seed=9)}
    centers = {"patch": random(K, seed=4), "image": random(K, seed=5)}
    mask = np.random.default_rng(1).permuted(np.repeat([[1, 0]], 4, 0).repeat(4, 1), axis=1).reshape(4, 2, 2, 2)
    return student, outputs(2), centers, jnp.asarray(mask)


def log_softmax(values):
    return values - np.log(np.exp(values).sum(-1, keepdims=True))


def cross_entropy(teacher, center, temperature, student):
    target = np.exp(log_softmax((np.asarray(teacher) - np.asarray(center)) / temperature))
    return -(target * log_softmax(np.asarray(student) / 0.1)).sum(-1)


def test_patches_are_of_the_same_view_and_masked(batch):
    student, teacher, centers, mask = batch
    unlike = cross_entropy(teacher["patch_logits"], centers["patch"], 0.04, student["patch_logits"])
    hidden = np.asarray(mask).reshape(4, -1)
    expected = 0.1 * np.mean([row[own == 1].mean() for row, own in zip(unlike, hidden, strict=True)])
    assert float(losses(*batch, 0)["patch"]) == pytest.approx(expected, rel=1e-5)


def test_images_are_of_the_other_view_of_the_same_scan(batch):
    student, teacher, centers, _ = batch
    pairs = [(0, 2), (1, 3), (2, 0), (3, 1)]
    expected = 0.1 * np.mean(
        [
            cross_entropy(teacher["image_logits"][one], centers["image"], 0.04, student["image_logits"][other])
            for one, other in pairs
        ]
    )
    assert float(losses(*batch, 0)["image"]) == pytest.approx(expected, rel=1e-5)


def test_voxels_count_where_they_are_masked(batch):
    student, _, _, mask = batch
    total = hidden = 0
    for example, i, j, k in np.argwhere(np.asarray(mask)):
        where = (example, *(slice(16 * n, 16 * n + 16) for n in (i, j, k)))
        total += np.abs(np.asarray(student["volume"])[where] - np.asarray(student["reconstruction"])[where]).sum()
        hidden += 16**3
    assert float(losses(*batch, 0)["reconstruction"]) == pytest.approx(total / hidden, rel=1e-5)
    assert float(losses(*batch, 0)["total"]) == pytest.approx(
        sum(float(losses(*batch, 0)[name]) for name in ("patch", "image", "reconstruction")), rel=1e-6
    )


def test_nothing_masked_costs_nothing():
    volume = random(1, 16, 16, 16, 1)
    assert float(reconstruction_loss(volume + 1, volume, jnp.zeros((1, 1, 1, 1)))) == 0


@pytest.mark.parametrize(
    ("epoch", "image", "patch"),
    [(0, 0.04, 0.04), (29, 0.07, 0.04), (30, 0.07, 0.04), (59, 0.07, 0.07), (499, 0.07, 0.07)],
)
def test_temperatures_rise_in_their_epochs(epoch, image, patch):
    """By 30 points from 0.04 to 0.07, as numpy's linspace has them: the last is reached in the 30th epoch."""
    np.testing.assert_allclose(teacher_temperatures(epoch), (image, patch), rtol=1e-6)
    between = np.linspace(0.04, 0.07, 30)
    np.testing.assert_allclose(teacher_temperatures(12)[0], between[12], rtol=1e-6)
    np.testing.assert_allclose(teacher_temperatures(42)[1], between[12], rtol=1e-6)


def test_the_teacher_gets_no_gradient(batch):
    student, teacher, centers, mask = batch
    gradient = jax.grad(lambda teacher: losses(student, teacher, centers, mask, 0)["total"])(teacher)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(gradient))


def test_a_tenth_of_a_batch_moves_the_centres(batch):
    _, teacher, centers, _ = batch
    moved = moved_centers(centers, teacher)
    patch = np.asarray(teacher["patch_logits"]).reshape(-1, K).mean(0)
    image = np.asarray(teacher["image_logits"]).mean(0)
    np.testing.assert_allclose(moved["patch"], 0.9 * np.asarray(centers["patch"]) + 0.1 * patch, rtol=1e-5)
    np.testing.assert_allclose(moved["image"], 0.9 * np.asarray(centers["image"]) + 0.1 * image, rtol=1e-5)
