"""SMIT's pretraining: a student sees two masked crops of a scan, and learns them and what its teacher sees unmasked.

The teacher is an exponential moving average of the student, and both are trained with dropped blocks, as in the
published code (The-Veeraraghavan-Lab/SMIT). In two things that code is not what its paper says, and the options
`ema` and `teacher_init` have its way as "official": its momentum, which should rise from 0.996 to 1 over the training,
is looked up by the step within the epoch and so hardly rises; and its teacher begins at random.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array, lax
from jaxtyping import Float, Num

from mskjax.models.smit import BLOCK, DISTILLED, SMITPretrainer
from mskjax.tasks import network
from mskjax.tasks.distillation_losses import COLD, VIEWS, WARMING_EPOCHS, losses, moved_centers
from mskjax.tasks.intensity import window
from mskjax.tasks.network import Batch, State
from mskjax.tasks.task import Task
from mskjax.types import Key, Params

MASKED = 0.7  # of the blocks
STUDENTS_OWN = ("backbone/mask_token", "pretext/reconstruction/")

Crops = Num[Array, "b 2 d h w"]


@dataclass(frozen=True)
class SelfDistillation(Task):
    """The task: its network and a batch {"image_hu" [b,2,d,h,w]}, two crops of each scan along the axes of RAS.

    `steps_per_epoch` and `epochs` tell the schedules where a run is; launch.train fills them in. `ema` is "fixed" or
    "official", `teacher_init` "student" or "official", as the module says. The weights of the last epoch are kept: what
    is to be learned changes with the teacher, so that losses of unlike epochs do not compare.
    """

    keeps_last: ClassVar[bool] = True

    module: SMITPretrainer
    steps_per_epoch: int = 1
    epochs: int = 1
    window_hu: float = 425.0
    level_hu: float = 37.5
    patch_weight: float = 0.1
    image_weight: float = 0.1
    momentum: float = 0.996
    warming_epochs: int = WARMING_EPOCHS
    ema: Literal["fixed", "official"] = "fixed"
    teacher_init: Literal["student", "official"] = "student"
    freeze: tuple[str, ...] = ()

    def __post_init__(self):
        for name, word in (("ema", "fixed"), ("teacher_init", "student")):
            if getattr(self, name) not in (word, "official"):
                raise ValueError(f"{name} is {getattr(self, name)!r}; it must be {word} or official")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum is {self.momentum}; it must be at least 0 and below 1")

    def init(self, key: Key, batch: Batch) -> tuple[Params, State]:
        """Fresh parameters, and the model state: the "teacher", its "centers" and the "step"."""
        _, _, *sides = batch["image_hu"].shape
        student_key, teacher_key = jax.random.split(key)
        params, _ = network.initial(self.module, student_key, (VIEWS, *sides, 1))
        source = params
        if self.teacher_init == "official":
            source, _ = network.initial(self.module, teacher_key, (VIEWS, *sides, 1))
        centers = {name: jnp.zeros(self.module.prototypes) for name in ("patch", "image")}
        return params, {"teacher": shared(source), "centers": centers, "step": jnp.zeros((), jnp.int32)}

    def begin(self, params: Params, model_state: State) -> State:
        """The model state of a run that begins with pretrained `params`, which the teacher begins with too."""
        return {**model_state, "teacher": shared(params)} if self.teacher_init == "student" else model_state

    def loss(self, params: Params, model_state: State, batch: Batch, key: Key) -> tuple[Array, tuple[State, State]]:
        """The total loss, and (the next model state, the parts of the loss); masks and drops are drawn from `key`."""
        mask_key, student_key, teacher_key = jax.random.split(key, 3)
        volume = self.normalise(batch["image_hu"])
        mask = masks(mask_key, len(volume), volume.shape[1:4])
        teacher = self._apply(model_state["teacher"], volume, key=teacher_key, teacher=True)
        epoch = model_state["step"] // self.steps_per_epoch
        student = self._apply(_calm(params, epoch), volume, mask, key=student_key)
        parts = self._losses(student, teacher, model_state["centers"], mask, epoch, volume)
        total = parts.pop("total")
        moved = moved_centers(model_state["centers"], lax.stop_gradient(teacher))
        return total, ({**model_state, "centers": moved}, parts)

    def post_update(self, params: Params, model_state: State, step: Array) -> State:
        """The model state after an update: the teacher has followed the student's new parameters."""
        momentum = self._momentum(step)
        teacher = jax.tree.map(
            lambda old, new: momentum * old + (1 - momentum) * new, model_state["teacher"], shared(params)
        )
        return {**model_state, "teacher": teacher, "step": step}

    def evaluate(self, params: Params, model_state: State, batch: Batch) -> dict[str, Float[Array, " b"]]:
        """Each scan's total "loss" and its parts, with masks that never change, and what tells that the method works.

        "target_entropy" and "target_information" are those of the teacher's targets, "feature_spread" is the student's:
        all fall to 0 if tokens collapse to one. "teacher_lag" is the `distance` of the student's parameters from the
        teacher's.
        """
        volume = self.normalise(batch["image_hu"])
        count = len(volume) // VIEWS
        mask = jnp.tile(masks(jax.random.key(0), VIEWS, volume.shape[1:4])[:, None], (1, count, 1, 1, 1))
        mask = mask.reshape(-1, *mask.shape[2:])
        teacher = self._apply(model_state["teacher"], volume, teacher=True)
        student = self._apply(params, volume, mask)
        epoch = model_state["step"] // self.steps_per_epoch

        lag = distance(shared(params), model_state["teacher"])

        def of_a_scan(student: Any, teacher: Any, mask: Array, volume: Array) -> dict[str, Array]:
            parts = self._losses(student, teacher, model_state["centers"], mask, epoch, volume)
            entropy, information = target_entropy(teacher["patch_logits"], model_state["centers"]["patch"])
            signs = {"target_entropy": entropy, "target_information": information}
            signs |= {"feature_spread": feature_spread(student[DISTILLED]), "teacher_lag": lag}
            return {"loss": parts.pop("total"), **parts, **signs}

        outputs = ({name: student[name] for name in (*_LOGITS, "reconstruction", DISTILLED)}, _logits(teacher))
        by_scan = jax.tree.map(lambda of: of.reshape(VIEWS, count, *of.shape[1:]), (*outputs, mask, volume))
        return jax.vmap(of_a_scan, in_axes=1)(*by_scan)

    def normalise(self, image_hu: Crops) -> Float[Array, "n d h w 1"]:
        """The network's input: HU within the window as [0, 1]; the first crops of all scans, then the second."""
        crops = image_hu.swapaxes(0, 1).reshape(-1, *image_hu.shape[2:])
        return window(crops, self.window_hu, self.level_hu)[..., None]

    def _apply(self, params: Params, *inputs: Array, key: Key | None = None, teacher: bool = False) -> Any:
        rngs = {} if key is None else {"dropout": key}
        return self.module.apply({"params": params}, *inputs, train=key is not None, teacher=teacher, rngs=rngs)

    def _losses(
        self, student: Any, teacher: Any, centers: Any, mask: Array, epoch: Array, volume: Array
    ) -> dict[str, Array]:
        options = (self.patch_weight, self.image_weight, self.warming_epochs)
        return losses({**student, "volume": volume}, teacher, centers, mask, epoch, *options)

    def _momentum(self, step: Array) -> Array:
        """The weight of the teacher's own parameters in the update that ends step number `step`, counted from 1."""
        total = self.epochs * self.steps_per_epoch
        place = (step - 1) % self.steps_per_epoch + 1 if self.ema == "official" else step
        return 1 - (1 - self.momentum) * (1 + jnp.cos(jnp.pi * jnp.minimum(place / total, 1))) / 2


_LOGITS = ("patch_logits", "image_logits")


def masks(key: Key, count: int, sides: tuple[int, ...]) -> Num[Array, "{count} i j k"]:
    """Masks of blocks, 1 in 70 % of them, rounded up."""
    shape = tuple(side // BLOCK for side in sides)
    blocks = shape[0] * shape[1] * shape[2]
    ranks = jnp.argsort(jax.random.uniform(key, (count, blocks)), axis=-1).argsort(axis=-1)
    return (ranks < -int(-MASKED * blocks // 1)).astype(jnp.uint8).reshape(count, *shape)


def shared(params: Params) -> Params:
    """The parameters that the teacher has too."""
    leaves: dict[str, Array] = flatten_dict(params, sep="/")  # pyright: ignore[reportAssignmentType]
    return unflatten_dict({path: leaf for path, leaf in leaves.items() if not path.startswith(STUDENTS_OWN)}, sep="/")


def _calm(params: Params, epoch: Array) -> Params:
    """The parameters, of which the heads' directions get no gradient in the first epoch."""

    def of(path: Any, leaf: Array) -> Array:
        return jnp.where(epoch == 0, lax.stop_gradient(leaf), leaf) if path[-1].key == "prototypes" else leaf

    return jax.tree_util.tree_map_with_path(of, params)


def _logits(outputs: Mapping[str, Array]) -> dict[str, Array]:
    return {name: outputs[name] for name in _LOGITS}


def target_entropy(
    logits: Float[Array, "v t k"], center: Float[Array, " k"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The entropy of the mean target of all patches, and what a target tells of its patch, both from 0 to 1.

    The second is the first less the mean entropy of each target. Both are over the logarithm of the number of
    prototypes, or of patches where these are fewer. Both are 0 if all patches have one prototype; where all targets are
    even, which is a collapse too, the first is high and the second 0.
    """
    targets = jax.nn.softmax((logits - center) / COLD).reshape(-1, logits.shape[-1])
    most = jnp.log(min(targets.shape))
    of_mean = _entropy(targets.mean(0)) / most
    return jnp.minimum(of_mean, 1), of_mean - _entropy(targets).mean() / most


def _entropy(probability: Float[Array, "*n k"]) -> Float[Array, "*n"]:
    return -(probability * jnp.log(probability + 1e-12)).sum(-1)


def feature_spread(features: Float[Array, "v i j k c"]) -> Float[Array, ""]:
    """The mean distance of the patches' features of length 1 from their mean; 0 if all are alike."""
    flat = features.reshape(-1, features.shape[-1])
    units = flat / jnp.maximum(jnp.linalg.norm(flat, axis=-1, keepdims=True), 1e-12)
    return jnp.linalg.norm(units - units.mean(0), axis=-1).mean()


def distance(params: Params, others: Params) -> Float[Array, ""]:
    """How far parameters are from others, by the length of the others: 0 if they are the same."""
    apart = jax.tree.map(jnp.subtract, params, others)
    return optax.tree.norm(apart) / jnp.maximum(optax.tree.norm(others), 1e-12)
