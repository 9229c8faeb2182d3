"""Muscle segmentation as in study A: one logit a pixel, cross-entropy plus soft Dice.

A CT slice is windowed to [0, 1], repeated to three channels and normalised by ImageNet's mean and standard deviation,
whatever the network's weights came from. The paper does not say whether the auxiliary head was trained; it is left
out unless `models.build` is told `aux_head`, and its loss is then weighted as in torchvision's own training script.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import flax.linen as nn
import jax
from jax import Array
from jaxtyping import Float, Num

from mskjax.data.augment import Augmentation, augment
from mskjax.tasks import network
from mskjax.tasks.intensity import imagenet, window
from mskjax.tasks.losses import dice, segmentation_loss
from mskjax.tasks.network import Batch, State
from mskjax.tasks.task import Task
from mskjax.types import Key, Params


@dataclass(frozen=True)
class Segmentation(Task):
    """The task: its network and what is done with a batch {"image_hu" [b,h,w], "mask" [b,h,w], "spacing_mm" [b,2]}.

    `freeze` holds regexes on whole parameter paths such as `backbone/layer1_.*`: these parameters are not trained, and
    BatchNorm among them keeps and uses its running statistics. `smoothing` is in pixels.
    """

    module: nn.Module
    augmentation: Augmentation
    window_hu: float = 400.0
    level_hu: float = 50.0
    smoothing: float = 1.0
    aux_weight: float = 0.5
    freeze: tuple[str, ...] = ()

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Fresh parameters and the network's other variables for images of the batch's size."""
        return network.initial(self.module, key, (*batch["image_hu"].shape, 3))

    def loss(self, params: Params, model_state: State, batch: Batch, key: Key) -> tuple[Array, tuple[State, State]]:
        """The batch's mean loss, and (the next model state, metrics); augmentation and dropout are drawn from `key`."""
        augment_key, dropout_key = jax.random.split(key)
        image_hu, mask = augment(augment_key, batch["image_hu"], batch["mask"], batch["spacing_mm"], self.augmentation)
        image = self.normalise(image_hu)
        outputs, model_state = network.train(
            self.module, params, model_state, image, key=dropout_key, freeze=self.freeze
        )
        return self._losses(outputs, mask).mean(), (model_state, {})

    def evaluate(self, params: Params, model_state: State, batch: Batch) -> dict[str, Float[Array, " b"]]:
        """Each example's "loss" and "dice", without augmentation and on the batch's own pixels."""
        outputs = network.evaluate(self.module, params, model_state, self.normalise(batch["image_hu"]))
        mask = batch["mask"].astype(outputs["logits"].dtype)
        return {"loss": self._losses(outputs, mask), "dice": dice(outputs["logits"][..., 0], mask)}

    def predict(self, params: Params, model_state: State, image_hu: Num[Array, "b h w"]) -> Float[Array, "b h w"]:
        """The probability of muscle in each pixel."""
        return jax.nn.sigmoid(self.logits(params, model_state, image_hu))

    def logits(self, params: Params, model_state: State, image_hu: Num[Array, "b h w"]) -> Float[Array, "b h w"]:
        """The logit of muscle in each pixel, without augmentation."""
        return network.evaluate(self.module, params, model_state, self.normalise(image_hu))["logits"][..., 0]

    def normalise(self, image_hu: Num[Array, "b h w"]) -> Float[Array, "b h w 3"]:
        """The network's input: HU within the window as [0, 1], three times, less ImageNet's mean, by its sd."""
        return imagenet(window(image_hu, self.window_hu, self.level_hu))

    def _losses(self, outputs: Mapping[str, Array], mask: Array) -> Float[Array, " b"]:
        losses = segmentation_loss(outputs["logits"][..., 0], mask, self.smoothing)
        if "aux_logits" in outputs:
            losses += self.aux_weight * segmentation_loss(outputs["aux_logits"][..., 0], mask, self.smoothing)
        return losses
