"""Classification as in study B: is this patient sarcopenic, told from one slice by a network with a two-way softmax.

CT is windowed to [-175, 250] HU and that to grey levels of 0 to 255; bitmaps are taken as they are. The slice is then
resized to the network's input and normalised by the convention its weights were trained with. Slices must be cut to
`limits_hu` before they are resampled at all, as bitmaps are that a viewer has windowed: bone of 1,000 HU would colour
its neighbours else. Class weights multiply each example's cross-entropy, and the sum is divided by the number of
examples, as Keras's `class_weight` does in training; here they weigh the validation loss as well, so that what is
selected is what was learned.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jaxtyping import Float, Int, Num

from mskjax.data.augment import Augmentation, augment
from mskjax.data.dataset import VALUES, Dataset
from mskjax.tasks import network, preprocessing
from mskjax.tasks.intensity import window
from mskjax.tasks.network import Batch, State
from mskjax.tasks.task import Task
from mskjax.types import Key, Params

CLASSES = 2  # not sarcopenic, sarcopenic
BALANCED = "balanced"  # in the place of class weights in a config, to be replaced by `class_weights` of who trains


@dataclass(frozen=True)
class Classification(Task):
    """The task: a network of two classes, and a batch {"image_hu" [b,s,s], "spacing_mm" [b,2], "label" [b]} of 0 and 1.

    `network` and `variant` are its name and form, by which `preprocessing` is told (see `preprocessing.prepare`).
    `values` says what a dataset's slices hold: "hu", windowed to `level_hu` +- `window_hu` / 2, or "grey" levels.
    `resize` is the side of the network's input in pixels. `freeze` holds regexes as of `Segmentation`. Raises
    `ValueError` for a value that it does not know.
    """

    module: nn.Module
    augmentation: Augmentation
    network: str
    variant: str = "keras"
    preprocessing: str = "own"
    values: str = "hu"
    window_hu: float = 425.0
    level_hu: float = 37.5
    resize: int = 224
    class_weights: tuple[float, ...] = (1.0, 1.0)
    freeze: tuple[str, ...] = ()

    def __post_init__(self):
        preprocessing.check(self.network, self.variant, self.preprocessing)
        classes = getattr(self.module, "num_classes", None)
        _require(classes == CLASSES, f"a network of {classes} classes", f"set model.num_classes={CLASSES}")
        _require(self.values in VALUES, f"values {self.values!r}", f"choose one of {', '.join(VALUES)}")
        _require(self.resize >= 1, f"resize={self.resize}", "give the side of the network's input in pixels")
        weights = np.asarray(self.class_weights, float)
        fit = weights.shape == (CLASSES,) and np.isfinite(weights).all() and (weights > 0).all()
        _require(bool(fit), f"class_weights={self.class_weights}", "give one above 0 for each of the two classes")

    @property
    def limits_hu(self) -> tuple[float, float] | None:
        """The HU to which slices are cut before they are resampled; None where they are grey levels."""
        if self.values == "grey":
            return None
        return self.level_hu - self.window_hu / 2, self.level_hu + self.window_hu / 2

    def check(self, dataset: Dataset) -> None:
        """Raises `ValueError` where one cannot learn from a dataset: other values, labels that lack, or one class."""
        if dataset.values != self.values:
            raise ValueError(
                f"the dataset holds {dataset.values} values and config.task.values is {self.values!r}; "
                f"set --config.task.values={dataset.values}"
            )
        label = dataset.cases["sarcopenia"].fillna(-1).to_numpy(int)
        if len(unknown := dataset.slices.case_id[label < 0]):
            raise ValueError(
                f"{len(unknown)} of {len(label)} cases have no label, such as {unknown[0]}; give each a sarcopenia of "
                "0 or 1 in the CSV of launch.prepare --cases, or leave them out of it"
            )
        training = label[dataset.rows("train")]
        if len(training) and training.min() == training.max():
            raise ValueError(
                f"all {len(training)} training cases have sarcopenia {training[0]}; give cases of both classes the "
                "split train"
            )

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Fresh parameters and the network's other variables."""
        return network.initial(self.module, key, (len(batch["image_hu"]), self.resize, self.resize, 3))

    def loss(self, params: Params, model_state: State, batch: Batch, key: Key) -> tuple[Array, tuple[State, State]]:
        """The batch's mean loss, and (the next model state, metrics); augmentation and dropout are drawn from `key`."""
        augment_key, dropout_key = jax.random.split(key)
        nothing = jnp.zeros(batch["image_hu"].shape, jnp.uint8)
        image_hu, _ = augment(augment_key, batch["image_hu"], nothing, batch["spacing_mm"], self.augmentation)
        image = self.normalise(image_hu)
        outputs, model_state = network.train(
            self.module, params, model_state, image, key=dropout_key, freeze=self.freeze
        )
        return self._losses(outputs["logits"], batch["label"]).mean(), (model_state, {})

    def evaluate(self, params: Params, model_state: State, batch: Batch) -> dict[str, Float[Array, " b"]]:
        """Each example's "loss" and "accuracy" (of the likelier class), without augmentation."""
        logits = self._logits(params, model_state, batch["image_hu"])
        right = (logits.argmax(-1) == batch["label"]).astype(logits.dtype)
        return {"loss": self._losses(logits, batch["label"]), "accuracy": right}

    def probability(self, params: Params, model_state: State, image_hu: Num[Array, "b s s"]) -> Float[Array, " b"]:
        """The probability of class 1, sarcopenic."""
        return jax.nn.softmax(self._logits(params, model_state, image_hu))[:, 1]

    def normalise(self, image_hu: Num[Array, "b s s"]) -> Float[Array, "b {self.resize} {self.resize} 3"]:
        """The network's input."""
        grey = self.values == "grey"
        unit = window(image_hu, *((255.0, 127.5) if grey else (self.window_hu, self.level_hu)))
        resized = jax.image.resize(unit, (len(unit), self.resize, self.resize), "bilinear", antialias=True)
        return preprocessing.prepare(255 * resized, self.network, self.variant, self.preprocessing)

    def _logits(self, params: Params, model_state: State, image_hu: Array) -> Float[Array, "b k"]:
        return network.evaluate(self.module, params, model_state, self.normalise(image_hu))["logits"]

    def _losses(self, logits: Float[Array, "b k"], label: Int[Array, " b"]) -> Float[Array, " b"]:
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, label)
        weighted = jnp.asarray(self.class_weights, logits.dtype)[label] * losses
        # An index of -1, an unknown label, would be taken for the last class.
        return jnp.where(label >= 0, weighted, jnp.nan)


def class_weights(counts: Sequence[int]) -> tuple[float, ...]:
    """The class weights n / (k n_c) of k classes of `counts` training cases, n together, as scikit-learn's "balanced".

    Each class then weighs as much as any other in the sum of the losses, and cases weigh 1 on average. Raises
    `ValueError` where a class has no case.
    """
    if not all(counts):
        told = " and ".join(f"{count} of sarcopenia {label}" for label, count in enumerate(counts))
        raise ValueError(f"class weights cannot be balanced, as {told} train; give each class a case, or two numbers")
    return tuple(sum(counts) / (len(counts) * count) for count in counts)


def _require(holds: bool, what: str, remedy: str) -> None:
    if not holds:
        raise ValueError(f"classification does not take {what}; {remedy}")
