import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mskjax import models, tasks
from mskjax.data.augment import Augmentation
from mskjax.models.layers import BatchNorm
from mskjax.tasks.segmentation import Segmentation

STILL = Augmentation(flip=0.0, rotation=0.0, scaling=0.0, elastic=0.0)


class Constant(nn.Module):
    """Logit 0 everywhere, and `aux` from the auxiliary head."""

    aux: float | None = None

    @nn.compact
    def __call__(self, image, *, train):
        bias = self.param("bias", nn.initializers.zeros, (1,))
        self.variable("batch_stats", "mean", jnp.zeros, (1,))
        logits = jnp.zeros((*image.shape[:3], 1)) + bias
        return {"logits": logits} if self.aux is None else {"logits": logits, "aux_logits": logits + self.aux}


@pytest.fixture
def batch():
    mask = np.zeros((2, 4, 4), np.uint8)
    mask[0, :2] = 1
    return {"image_hu": jnp.zeros((2, 4, 4), jnp.int16), "mask": jnp.array(mask), "spacing_mm": jnp.ones((2, 2))}


def constant(**fields):
    module = Constant(fields.pop("aux", None))
    variables = dict(module.init(jax.random.key(0), jnp.zeros((1, 4, 4, 3)), train=False))
    return Segmentation(module, STILL, **fields), variables.pop("params"), variables


# Probability 1/2 in 16 pixels: cross-entropy log 2; soft Dice (8 + 1) / (8 + 8 + 1) and 1 / (8 + 1).
LOSSES = np.log(2) + 1 - np.array([9 / 17, 1 / 9])


def test_window_is_taken_to_0_and_1_and_then_by_imagenet():
    task, *_ = constant()
    image = task.normalise(jnp.array([[[-1024, -150, 50, 150, 250, 3000]]], jnp.int16))
    unit = np.array([0, 0, 0.5, 0.75, 1, 1])
    for channel, (mean, sd) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
        np.testing.assert_allclose(image[0, 0, :, channel], (unit - mean) / sd, rtol=1e-5)


def test_the_window_can_be_chosen():
    task, *_ = constant(window_hu=100.0, level_hu=0.0)
    image = task.normalise(jnp.array([[[-50, 0, 25, 50]]], jnp.int16))
    np.testing.assert_allclose(image[0, 0, :, 0] * 0.229 + 0.485, [0, 0.5, 0.75, 1], atol=1e-6)


def test_loss_is_the_mean_of_the_images_losses(batch):
    task, params, model_state = constant()
    loss, (after, metrics) = task.loss(params, model_state, batch, jax.random.key(0))
    assert float(loss) == pytest.approx(LOSSES.mean(), rel=1e-6)
    assert loss.dtype == jnp.float32
    assert after == model_state
    assert metrics == {}


def test_auxiliary_loss_is_weighted(batch):
    task, params, model_state = constant(aux=0.0, aux_weight=0.25)
    loss, _ = task.loss(params, model_state, batch, jax.random.key(0))
    assert float(loss) == pytest.approx(1.25 * LOSSES.mean(), rel=1e-6)


def test_evaluation_is_of_each_image(batch):
    task, params, model_state = constant()
    values = task.evaluate(params, model_state, batch)
    np.testing.assert_allclose(values["loss"], LOSSES, rtol=1e-6)
    np.testing.assert_allclose(values["dice"], [0, 1])  # a logit of 0 is not above one half


def test_prediction_is_a_probability(batch):
    task, params, model_state = constant()
    params = jax.tree.map(lambda leaf: leaf + np.log(3.0), params)
    np.testing.assert_allclose(task.predict(params, model_state, batch["image_hu"]), 0.75, rtol=1e-6)


def test_images_and_masks_are_augmented_in_training_alone(batch):
    mirrored = Augmentation(flip=1.0, rotation=0.0, scaling=0.0, elastic=0.0)
    task, params, model_state = constant()
    seen = []

    class Spy(Constant):
        @nn.compact
        def __call__(self, image, *, train):
            seen.append(image[..., 0] * 0.229 + 0.485)
            return Constant.__call__(self, image, train=train)

    task = Segmentation(Spy(), mirrored)
    image_hu = jnp.zeros((2, 4, 4), jnp.int16).at[:, :, 0].set(250)
    batch = {**batch, "image_hu": image_hu}
    task.loss(params, model_state, batch, jax.random.key(0))
    task.evaluate(params, model_state, batch)
    np.testing.assert_allclose(seen[0][0, :, 3], 1, atol=1e-5)
    np.testing.assert_allclose(seen[1][0, :, 0], 1, atol=1e-5)


class Normalising(nn.Module):
    """Two BatchNorms, one called backbone and one called classifier."""

    @nn.compact
    def __call__(self, image, *, train=False):
        image = BatchNorm(name="backbone")(image, train=train)
        return {"logits": BatchNorm(name="classifier")(image, train=train)[..., :1]}


@pytest.mark.parametrize(("freeze", "moved"), [((), ["backbone", "classifier"]), (("backbone/.*",), ["classifier"])])
def test_frozen_batch_norm_keeps_its_statistics(batch, freeze, moved):
    task = Segmentation(Normalising(), STILL, freeze=freeze)
    batch = {**batch, "image_hu": jax.random.randint(jax.random.key(1), (2, 4, 4), -200, 200).astype(jnp.int16)}
    params, model_state = task.init(jax.random.key(0), batch)
    _, (after, _) = task.loss(params, model_state, batch, jax.random.key(0))
    before, after = model_state["batch_stats"], after["batch_stats"]
    assert [name for name in sorted(before) if (before[name]["mean"] != after[name]["mean"]).any()] == moved


def test_bfloat16_computes_in_it_and_keeps_the_rest_in_float32(batch):
    module = models.build("fcn_resnet101", num_classes=1, stage_sizes=(1, 1, 1, 1), width=4, dtype=jnp.bfloat16)
    task = Segmentation(module, STILL)
    params, model_state = task.init(jax.random.key(0), batch)
    outputs = jax.eval_shape(lambda: module.apply({"params": params, **model_state}, jnp.zeros((1, 32, 32, 3))))
    assert outputs["layer3"].dtype == jnp.bfloat16
    step = jax.value_and_grad(task.loss, has_aux=True)
    (loss, (after, _)), gradient = jax.eval_shape(step, params, model_state, batch, jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves((loss, after, gradient))} == {jnp.dtype("float32")}


CONFIG = {
    "name": "segmentation",
    "model": {"name": "fcn_resnet101", "num_classes": 1, "stage_sizes": [1, 1, 1, 1], "dtype": "bfloat16"},
    "augmentation": {"flip": 0.25},
    "freeze": ["backbone/.*"],
    "level_hu": 40.0,
}


def test_build_takes_a_config_that_went_through_json():
    task = tasks.build(CONFIG)
    assert (task.level_hu, task.augmentation.flip, task.freeze) == (40.0, 0.25, ("backbone/.*",))
    assert (task.module.stage_sizes, task.module.dtype) == ((1, 1, 1, 1), jnp.bfloat16)
    hash(task)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "guess"}, "guess.*segmentation"),
        ({"model": {**CONFIG["model"], "dtype": "float16"}}, "float16.*bfloat16"),
        ({"model": {**CONFIG["model"], "name": "unet"}}, "unet.*fcn_resnet101"),
        ({"augmentation": {"flip": 2.0}}, "flip"),
        ({"model": {"name": "smit_segmenter"}}, "segmentation does not take .* smit_segmenter, which sees volumes"),
    ],
)
def test_build_refuses_in_one_sentence(change, message):
    with pytest.raises(ValueError, match=message):
        tasks.build({**CONFIG, **change})
