"""Reconstruction, the autoencoder of study A: the segmenter with three output channels learns to return its input.

The target is what the network sees, augmentation and ImageNet's normalisation included: "the mean-squared error between
the input image and the reconstructed slice". No outline is read. The FCN's output stride of 8 is the bottleneck.
"""

from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Num

from mskjax.data.augment import Augmentation, augment
from mskjax.tasks import network
from mskjax.tasks.intensity import imagenet, window
from mskjax.tasks.network import Batch, Outputs, State
from mskjax.tasks.task import Task
from mskjax.types import Key, Params


@dataclass(frozen=True)
class Reconstruction(Task):
    """The task: its network, of three output channels, and a batch {"image_hu" [b,h,w], "spacing_mm" [b,2]}.

    `freeze` holds regexes as of `Segmentation`. The network must have no auxiliary head, which nothing would train.
    """

    module: nn.Module
    augmentation: Augmentation
    window_hu: float = 400.0
    level_hu: float = 50.0
    freeze: tuple[str, ...] = ()

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Fresh parameters and the network's other variables for images of the batch's size."""
        return network.initial(self.module, key, (*batch["image_hu"].shape, 3))

    def loss(self, params: Params, model_state: State, batch: Batch, key: Key) -> tuple[Array, tuple[State, State]]:
        """The batch's mean loss, and (the next model state, metrics); augmentation and dropout are drawn from `key`."""
        augment_key, dropout_key = jax.random.split(key)
        nothing = jnp.zeros(batch["image_hu"].shape, jnp.uint8)
        image_hu, _ = augment(augment_key, batch["image_hu"], nothing, batch["spacing_mm"], self.augmentation)
        image = self.normalise(image_hu)
        outputs, model_state = network.train(
            self.module, params, model_state, image, key=dropout_key, freeze=self.freeze
        )
        return squared_error(outputs, image).mean(), (model_state, {})

    def evaluate(self, params: Params, model_state: State, batch: Batch) -> dict[str, Float[Array, " b"]]:
        """Each example's "loss", without augmentation and on the batch's own pixels."""
        image = self.normalise(batch["image_hu"])
        return {"loss": squared_error(network.evaluate(self.module, params, model_state, image), image)}

    def normalise(self, image_hu: Num[Array, "b h w"]) -> Float[Array, "b h w 3"]:
        """The network's input and target: HU within the window as [0, 1], three times, by ImageNet's mean and sd."""
        return imagenet(window(image_hu, self.window_hu, self.level_hu))


def squared_error(outputs: Outputs, image: Float[Array, "b h w 3"]) -> Float[Array, " b"]:
    """The mean over pixels and channels of each image's squared error, in the units of normalised images, squared.

    Raises `ValueError` for a network with outputs other than three channels, which would be broadcast without a word.
    """
    logits = outputs["logits"]
    if logits.shape != image.shape or "aux_logits" in outputs:
        raise ValueError(
            f"reconstruction takes a network of 3 output channels and one head, not {logits.shape[-1]} channels and "
            f"{'two heads' if 'aux_logits' in outputs else 'one'}; set model.num_classes=3 and model.aux_head=False"
        )
    return jnp.square(logits - image).mean((1, 2, 3))
