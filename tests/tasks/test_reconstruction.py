import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import reconstruction
from configs.shared import NETWORKS
from mskjax import models, tasks
from mskjax.data import phantom
from mskjax.data.augment import Augmentation
from mskjax.tasks.reconstruction import Reconstruction

quick = jax.jit
STILL = Augmentation(flip=0.0, rotation=0.0, scaling=0.0, elastic=0.0)
MEAN, SD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


class Gain(nn.Module):
    """The image times a parameter, as `channels` logits, and again in the auxiliary head if `aux`."""

    gain: float = 1.0
    channels: int = 3
    aux: bool = False

    @nn.compact
    def __call__(self, image, *, train=False):
        logits = image[..., : self.channels] * self.param("gain", nn.initializers.constant(self.gain), ())
        self.variable("batch_stats", "mean", jnp.zeros, ())
        return {"logits": logits, "aux_logits": logits} if self.aux else {"logits": logits}


@pytest.fixture
def batch():
    """Two slices, of air and of the window's level, in which no mask can be read, for there is none."""
    image_hu = jnp.stack([jnp.full((5, 7), -1024, jnp.int16), jnp.full((5, 7), 50, jnp.int16)])
    return {"image_hu": image_hu, "spacing_mm": jnp.ones((2, 2))}


def built(augmentation=STILL, window_hu=400.0, **fields):
    task = Reconstruction(Gain(**fields), augmentation, window_hu)
    return task, *task.init(jax.random.key(0), {"image_hu": jax.ShapeDtypeStruct((1, 5, 7), jnp.int16)})


def test_loss_is_the_mean_square_over_pixels_and_channels(batch):
    """Half of the input is returned: the error is the other half; the input is 0 and 0.5 by ImageNet's moments."""
    task, params, model_state = built(gain=0.5)
    expected = [np.mean((0.5 * (unit - MEAN) / SD) ** 2) for unit in (0, 0.5)]
    np.testing.assert_allclose(task.evaluate(params, model_state, batch)["loss"], expected, rtol=1e-5)
    loss, (after, metrics) = quick(task.loss)(params, model_state, batch, jax.random.key(0))
    assert float(loss) == pytest.approx(np.mean(expected), rel=1e-5)
    assert (after, metrics, loss.dtype) == (model_state, {}, jnp.float32)


def test_the_window_can_be_chosen(batch):
    task, params, model_state = built(gain=0.0, window_hu=100.0)
    image_hu = jnp.full((1, 5, 7), 75, jnp.int16)  # three quarters of the way from 0 to 100 HU
    loss = task.evaluate(params, model_state, {"image_hu": image_hu})["loss"]
    np.testing.assert_allclose(loss, np.mean(((0.75 - MEAN) / SD) ** 2), rtol=1e-5)


def test_what_is_reconstructed_is_the_augmented_slice():
    """A network that returns its input has nothing to learn, whatever was done to the slice; one that does not, has."""
    always = Augmentation(flip=1.0, rotation=1.0, scaling=1.0, elastic=1.0)
    image_hu = jax.random.randint(jax.random.key(1), (2, 5, 7), -150, 250).astype(jnp.int16)
    batch = {"image_hu": image_hu, "spacing_mm": jnp.ones((2, 2))}
    task, _, model_state = built(always)
    loss = quick(lambda gain, seed: task.loss({"gain": gain}, model_state, batch, jax.random.key(seed))[0])
    assert float(loss(1.0, 0)) == 0
    assert loss(0.0, 0) == loss(0.0, 0) != loss(0.0, 1)
    assert float(loss(0.0, 0)) != float(task.evaluate({"gain": jnp.array(0.0)}, model_state, batch)["loss"].mean())


@pytest.mark.parametrize("fields", [{"channels": 1}, {"aux": True}])
def test_networks_of_other_outputs_are_refused(batch, fields):
    task, params, model_state = built(**fields)
    channels, heads = fields.get("channels", 3), "two heads" if "aux" in fields else "one"
    message = f"not {channels} channels and {heads}; set model.num_classes=3 and model.aux_head=False"
    with pytest.raises(ValueError, match=re.escape(message)):
        task.evaluate(params, model_state, batch)


def test_bfloat16_computes_in_it_and_keeps_the_rest_in_float32(batch):
    module = models.build("fcn_resnet101", num_classes=3, stage_sizes=(1, 1, 1, 1), width=4, dtype=jnp.bfloat16)
    task = Reconstruction(module, STILL)
    variables = models.abstract(module)
    params = variables.pop("params")
    step = jax.value_and_grad(task.loss, has_aux=True)
    (loss, (after, _)), gradient = jax.eval_shape(step, params, variables, batch, jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves((loss, after, gradient))} == {jnp.dtype("float32")}


def test_a_tiny_network_learns_to_reconstruct_slices_that_it_has_not_seen():
    """A network that returned the mean of all pixels would have their variance as its loss."""
    slices = phantom.slices(12, 32)
    batch = {"image_hu": jnp.array(slices.image_hu), "spacing_mm": jnp.array(slices.spacing_mm, jnp.float32)}
    train, held_out = ({name: array[rows] for name, array in batch.items()} for rows in (slice(8), slice(8, None)))
    task, optimizer = tasks.build(reconstruction.task(NETWORKS["smoke"])), optax.adam(1e-2)
    params, model_state = task.init(jax.random.key(0), train)
    optimizer_state = optimizer.init(params)

    @quick
    def step(params, model_state, optimizer_state, key):
        (_, (model_state, _)), gradient = jax.value_and_grad(task.loss, has_aux=True)(params, model_state, train, key)
        updates, optimizer_state = optimizer.update(gradient, optimizer_state)
        return optax.apply_updates(params, updates), model_state, optimizer_state

    for number in range(60):
        params, model_state, optimizer_state = step(params, model_state, optimizer_state, jax.random.key(number))
    loss = quick(task.evaluate)(params, model_state, held_out)["loss"]
    assert float(loss.mean()) < 0.6 * float(task.normalise(held_out["image_hu"]).var())
