import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from configs import segmentation, smit_pretraining, smit_segmentation
from mskjax import tasks
from mskjax.data.volume_augment import VolumeAugmentation
from mskjax.data.volume_folder import Volumes
from mskjax.models.unetr import SMITSegmenter
from mskjax.tasks.volume_segmentation import VolumeSegmentation

STILL = VolumeAugmentation(flip=0.0, rotation=0.0, scaling=0.0, shift=0.0)
KEY = jax.random.key(0)
SIDE = 4


class Ramp(SMITSegmenter):
    """Logits of each voxel by itself: 0 for the background and `bias` + 4 times the network's input for muscle."""

    @nn.compact
    def __call__(self, volume, *, train=False):
        bias = self.param("bias", nn.initializers.constant(-2.0), ())
        return {"logits": jnp.concatenate([jnp.zeros_like(volume), bias + 4 * volume], axis=-1)}


def ramp(augmentation=STILL):
    task = VolumeSegmentation(Ramp(num_classes=2), augmentation)
    return task, *task.init(KEY, {"image_hu": jax.ShapeDtypeStruct((1, SIDE, SIDE, SIDE), jnp.int16)})


@pytest.fixture
def batch():
    """Two crops of noise, of which plane 1 of the first and planes 0 and 3 of the second are known."""
    rng = np.random.default_rng(0)
    image_hu = rng.integers(-300, 400, (2, SIDE, SIDE, SIDE)).astype(np.int16)
    label = np.full(image_hu.shape, 255, np.uint8)
    label[0, :, :, 1], label[1, :, :, [0, 3]] = rng.integers(0, 2, (4, 4)), rng.integers(0, 2, (2, 4, 4))
    return {"image_hu": image_hu, "label": label, "spacing_mm": np.full((2, 3), 2.0, np.float32)}


def loss_of(task, params, state, batch):
    loss, (after, _) = task.loss(params, state, jax.tree.map(jnp.asarray, batch), KEY)
    assert jax.tree.leaves(after) == jax.tree.leaves(state)
    return float(loss)


def by_hand(image_hu, label):
    """Dice plus cross-entropy, and the Dice of what is above 37.5 HU, of the known voxels of one crop."""
    known = label != 255
    muscle = label[known].astype(float)
    probability = 1 / (1 + np.exp(2 - 4 * np.clip((image_hu[known] + 175) / 425, 0, 1)))
    entropy = -np.log(np.where(muscle == 1, probability, 1 - probability)).mean()
    dices = [
        2 * (p * target).sum() / ((p**2).sum() + target.sum())
        for p, target in ((probability, muscle), (1 - probability, 1 - muscle))
    ]
    predicted = image_hu[known] > 37.5
    return 1 - np.mean(dices) + entropy, 2 * (predicted * muscle).sum() / (predicted.sum() + muscle.sum())


def test_loss_and_dice_are_those_of_the_known_voxels(batch):
    task, params, state = ramp()
    losses, dices = np.array([by_hand(*crop) for crop in zip(batch["image_hu"], batch["label"], strict=True)]).T
    assert loss_of(task, params, state, batch) == pytest.approx(losses.mean(), rel=1e-5)
    found = task.evaluate(params, state, jax.tree.map(jnp.asarray, batch))
    np.testing.assert_allclose(found["loss"], losses, rtol=1e-5)
    np.testing.assert_allclose(found["dice"], dices, rtol=1e-5)
    assert 0 < dices.min() < dices.max() < 1


def test_what_is_unknown_counts_nowhere(batch):
    task, params, state = ramp()
    other = {**batch, "image_hu": np.where(batch["label"] == 255, 200, batch["image_hu"]).astype(np.int16)}
    assert loss_of(task, params, state, other) == loss_of(task, params, state, batch)
    found, expected = (task.evaluate(params, state, jax.tree.map(jnp.asarray, own)) for own in (other, batch))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_image_and_label_are_moved_together(batch):
    """Mirrored both, voxels that are judged one by one give what they gave; shifted, some are beyond the crop."""
    still, params, state = ramp()
    expected = loss_of(still, params, state, batch)
    flipped, *_ = ramp(VolumeAugmentation(flip=1.0, rotation=0.0, shift=0.0))
    assert loss_of(flipped, params, state, batch) == pytest.approx(expected, rel=1e-6)
    shifted, *_ = ramp(VolumeAugmentation(flip=0.0, rotation=0.0, shift=1.0, shift_mm=3.0))
    assert loss_of(shifted, params, state, batch) != pytest.approx(expected, rel=1e-3)


def test_probabilities_are_the_softmax_of_the_windowed_volume():
    task, params, state = ramp()
    hu = np.array([-1024, -175, 37, 38, 250, 3000], np.int16)
    image_hu = np.resize(hu, (1, SIDE, SIDE, SIDE))
    unit = np.clip((image_hu + 175.0) / 425, 0, 1)
    np.testing.assert_allclose(task.normalise(jnp.asarray(image_hu))[..., 0], unit, atol=1e-6)
    np.testing.assert_allclose(task.predict(params, state, jnp.asarray(image_hu)), 1 / (1 + np.exp(2 - 4 * unit)), 1e-5)


def config(of=smit_segmentation, **changes):
    own = of.get_config("smoke").task.to_dict()
    return {**own, **{name: {**own[name], **v} if isinstance(v, dict) else v for name, v in changes.items()}}


@pytest.mark.parametrize(
    ("own", "message"),
    [
        (config(model={"num_classes": 14}), r"network of 14 classes does not; set model\.num_classes=2"),
        (config(model={"num_classes": None}), r"network of None classes does not; set model\.num_classes=2"),
        (config(augmentation={"elastic": 0.5}), "augmentation has no field elastic; its fields are flip, rotation, "),
        (config(augmentation={"flip": 2.0}), "augmentation flip is 2.0; it must be a probability"),
        (
            config(name="volume_segmentation") | {"model": config(smit_pretraining)["model"]},
            "task volume_segmentation does not take the network smit_pretrainer; smit_segmenter belongs to",
        ),
        (
            config(smit_pretraining) | {"model": config()["model"]},
            "task self_distillation does not take the network smit_segmenter; smit_pretrainer belongs to",
        ),
        (
            config(segmentation) | {"model": config()["model"]},
            "task segmentation does not take the network smit_segmenter, which sees volumes and no slices",
        ),
        (config() | {"model": config(segmentation)["model"]}, "volume_segmentation does not take the network fcn_resn"),
        (config(smit_pretraining) | {"augmentation": {}}, "task self_distillation has no field augmentation; its"),
        (config(window=400), "task volume_segmentation has no field window; its fields are augmentation, freeze, "),
    ],
)
def test_what_does_not_fit_is_refused(own, message):
    with pytest.raises(ValueError, match=message):
        tasks.build(own)


def volumes(*planes, tmp_path):
    cases = pd.DataFrame({"case_id": [f"case{number}" for number in range(len(planes))]})
    return Volumes(tmp_path, cases, pd.DataFrame({"planes": planes}), {}, (1.5, 1.5, 2.0))


def test_outlines_are_learned_from_outlined_scans_alone(tmp_path):
    some = volumes("3", "", "4-6", "", tmp_path=tmp_path)
    tasks.check_volumes(config(), some, (2, 0))
    with pytest.raises(ValueError, match="needs a mask of every scan, and 2 of 3 have none, such as case case1; prepa"):
        tasks.check_volumes(config(), some, (0, 1, 3))
    tasks.check_volumes(config(smit_pretraining), some, (0, 1, 2, 3))


def test_tasks_of_volumes_are_told_from_those_of_slices():
    kinds = [config(), config(smit_pretraining), config(segmentation)]
    assert [tasks.sees_volumes(own) for own in kinds] == [True, True, False]
    assert [tasks.is_unlabelled(own) for own in kinds] == [False, True, False]
    shapes = [
        {name: (one.shape, one.dtype.name) for name, one in tasks.examples(tasks.build(own), 3, 32).items()}
        for own in kinds[:2]
    ]
    cube = (3, 32, 32, 32)
    assert shapes == [
        {"image_hu": (cube, "int16"), "label": (cube, "uint8"), "spacing_mm": ((3, 3), "float32")},
        {"image_hu": ((3, 2, 32, 32, 32), "int16")},
    ]
    assert tasks.scheduled(kinds[0], 7, 9) == kinds[0]
    task = tasks.build(tasks.scheduled(kinds[1], 7, 9))
    assert (task.steps_per_epoch, task.epochs) == (7, 9)
