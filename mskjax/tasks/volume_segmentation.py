"""Muscle segmentation of volumes as in study B: SMIT's student is fine-tuned by Dice plus cross-entropy.

Crops are windowed to [0, 1] after they were resampled, as in the published code (The-Veeraraghavan-Lab/SMIT). Voxels
that no outline tells of, above and below a slice drawn alone, are labelled unknown and count nowhere.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Num

from mskjax.data.volume_augment import VolumeAugmentation, augment_volumes
from mskjax.data.volume_grid import UNKNOWN
from mskjax.models.unetr import SMITSegmenter
from mskjax.tasks import network
from mskjax.tasks.intensity import window
from mskjax.tasks.losses import dice, dice_cross_entropy
from mskjax.tasks.network import Batch, State
from mskjax.tasks.task import Task
from mskjax.types import Key, Params


@dataclass(frozen=True)
class VolumeSegmentation(Task):
    """The task: its network and a batch {"image_hu" [b,i,j,k], "label" [b,i,j,k], "spacing_mm" [b,3]}.

    Axes are those of RAS; labels are 0, 1 for muscle and 255 for unknown. `freeze` holds regexes on whole parameter
    paths such as `backbone/.*`: these parameters are not trained.
    """

    module: SMITSegmenter
    augmentation: VolumeAugmentation
    window_hu: float = 425.0
    level_hu: float = 37.5
    freeze: tuple[str, ...] = ()

    def __post_init__(self):
        if self.module.num_classes != 2:
            raise ValueError(
                f"task volume_segmentation tells muscle from background, and a network of {self.module.num_classes} "
                "classes does not; set model.num_classes=2"
            )

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Fresh parameters and the network's other variables for crops of the batch's size."""
        return network.initial(self.module, key, (*batch["image_hu"].shape, 1))

    def loss(self, params: Params, model_state: State, batch: Batch, key: Key) -> tuple[Array, tuple[State, State]]:
        """The batch's mean loss, and (the next model state, metrics); augmentation and drops are drawn from `key`."""
        augment_key, dropout_key = jax.random.split(key)
        image_hu, label = augment_volumes(
            augment_key, batch["image_hu"], batch["label"], batch["spacing_mm"], self.augmentation
        )
        outputs, model_state = network.train(
            self.module, params, model_state, self.normalise(image_hu), key=dropout_key, freeze=self.freeze
        )
        return dice_cross_entropy(outputs["logits"], label).mean(), (model_state, {})

    def evaluate(self, params: Params, model_state: State, batch: Batch) -> dict[str, Float[Array, " b"]]:
        """Each crop's "loss" and "dice" of the muscle, where there are labels, without augmentation."""
        logits = network.evaluate(self.module, params, model_state, self.normalise(batch["image_hu"]))["logits"]
        label = batch["label"]
        known = label != UNKNOWN
        muscle = jnp.where(known, logits[..., 1] - logits[..., 0], -1.0)  # what is unknown is predicted nowhere
        return {"loss": dice_cross_entropy(logits, label), "dice": dice(muscle, (label * known).astype(muscle.dtype))}

    def predict(self, params: Params, model_state: State, image_hu: Num[Array, "b i j k"]) -> Float[Array, "b i j k"]:
        """The probability of muscle in each voxel."""
        outputs = network.evaluate(self.module, params, model_state, self.normalise(image_hu))
        return jax.nn.softmax(outputs["logits"])[..., 1]

    def normalise(self, image_hu: Num[Array, "b i j k"]) -> Float[Array, "b i j k 1"]:
        """The network's input: HU within the window as [0, 1]."""
        return window(image_hu, self.window_hu, self.level_hu)[..., None]
