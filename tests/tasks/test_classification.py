import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from mskjax import tasks
from mskjax.data.augment import Augmentation
from mskjax.data.dataset import Dataset, stack
from mskjax.tasks.classification import Classification, class_weights

STILL = Augmentation(flip=0.0, rotation=0.0, scaling=0.0, elastic=0.0)


class Constant(nn.Module):
    """Logits of 0 and log 3, whatever the image: sarcopenic with probability 3/4."""

    num_classes: int = 2

    @nn.compact
    def __call__(self, image, *, train=False):
        bias = self.param("bias", lambda key: jnp.array([0.0, np.log(3)]))
        self.variable("batch_stats", "mean", jnp.zeros, (1,))
        return {"logits": jnp.zeros((len(image), 2)) + bias}


def constant(**fields):
    task = Classification(Constant(), STILL, "inception_v3", resize=8, **fields)
    return task, *task.init(jax.random.key(0), {"image_hu": jnp.zeros((1, 8, 8))})


@pytest.fixture
def batch():
    image_hu = jnp.zeros((3, 8, 8), jnp.int16)
    return {"image_hu": image_hu, "spacing_mm": jnp.ones((3, 2)), "label": jnp.array([1, 0, 0])}


# Of a sarcopenic and of two healthy cases at probability 3/4.
LOSSES = -np.log([3 / 4, 1 / 4, 1 / 4])


def test_study_bs_window_becomes_grey_levels():
    """[-175, 250] HU are 0 to 255, which InceptionV3's own convention takes to [-1, 1]."""
    task, *_ = constant()
    image = task.normalise(jnp.array([-1024, -175, 37.5, 250, 3000])[:, None, None] * jnp.ones((5, 8, 8)))
    np.testing.assert_allclose(image[:, 0, 0, 1], [-1, -1, 0, 1, 1], atol=1e-6)


def test_slices_are_cut_to_the_window_before_they_are_resampled():
    assert tasks.limits_hu(constant()[0]) == (-175, 250)
    assert tasks.limits_hu(constant(values="grey")[0]) is None
    assert tasks.limits_hu(STILL) is None


def test_balanced_class_weights_are_scikit_learns():
    """Cases / (classes x cases of the class); of study B's 42 and 12 training patients 54 / 84 and 54 / 24."""
    assert class_weights([42, 12]) == pytest.approx((54 / 84, 54 / 24))
    for word in ("balanced", ["balanced"], ("balanced",)):
        assert tasks.balanced({"class_weights": word}, [1, 3])["class_weights"] == pytest.approx([2, 2 / 3])
    assert tasks.balanced({"class_weights": [1, 3]}, [1, 3]) == {"class_weights": [1, 3]}
    with pytest.raises(ValueError, match="as 0 of sarcopenia 0 and 3 of sarcopenia 1 train; give each class a case"):
        class_weights([0, 3])


def test_grey_levels_are_taken_as_they_are():
    """What augmentation leaves around a bitmap, -1024, is black."""
    task, *_ = constant(values="grey")
    image = task.normalise(jnp.array([-1024, 0, 51, 255], jnp.int16)[:, None, None] * jnp.ones((4, 8, 8), jnp.int16))
    np.testing.assert_allclose(image[:, 0, 0, 1], [-1, -1, 51 / 127.5 - 1, 1], atol=1e-6)


def test_slices_are_resized_to_the_networks_input():
    task, *_ = constant()
    fine = np.kron(np.arange(-100, 220, 5).reshape(1, 8, 8), np.ones((1, 4, 4)))
    image = task.normalise(jnp.asarray(fine, jnp.int16))
    assert image.shape == (1, 8, 8, 3)
    np.testing.assert_allclose(image.mean(), (fine.mean() + 175) / 425 * 2 - 1, atol=1e-3)


def test_loss_is_the_mean_cross_entropy(batch):
    task, params, model_state = constant()
    loss, (after, metrics) = task.loss(params, model_state, batch, jax.random.key(0))
    assert float(loss) == pytest.approx(LOSSES.mean(), rel=1e-6)
    assert (after, metrics) == (model_state, {})


def test_class_weights_multiply_and_the_number_of_cases_divides(batch):
    """As Keras's class_weight: (2 * 3 * loss) / 3, where the weights' own sum would give another."""
    task, params, model_state = constant(class_weights=(0.5, 2.0))
    loss, _ = task.loss(params, model_state, batch, jax.random.key(0))
    weighted = LOSSES * [2, 0.5, 0.5]
    assert float(loss) == pytest.approx(weighted.mean(), rel=1e-6)
    np.testing.assert_allclose(task.evaluate(params, model_state, batch)["loss"], weighted, rtol=1e-6)


def test_evaluation_is_of_each_case(batch):
    task, params, model_state = constant()
    values = task.evaluate(params, model_state, batch)
    np.testing.assert_allclose(values["loss"], LOSSES, rtol=1e-6)
    np.testing.assert_array_equal(values["accuracy"], [1, 0, 0])


def test_probability_is_of_the_second_class(batch):
    task, params, model_state = constant()
    np.testing.assert_allclose(task.probability(params, model_state, batch["image_hu"]), 0.75, rtol=1e-6)


def test_an_unknown_label_is_no_class(batch):
    """-1 would index the last class."""
    task, params, model_state = constant()
    unknown = {**batch, "label": jnp.array([1, -1, 0])}
    np.testing.assert_array_equal(np.isnan(task.evaluate(params, model_state, unknown)["loss"]), [False, True, False])
    assert np.isnan(task.loss(params, model_state, unknown, jax.random.key(0))[0])


def test_slices_are_augmented_in_training_alone(batch):
    seen = []

    class Spy(Constant):
        @nn.compact
        def __call__(self, image, *, train=False):
            seen.append(np.asarray(image[..., 0]))
            return Constant.__call__(self, image, train=train)

    mirrored = Augmentation(flip=1.0, rotation=0.0, scaling=0.0, elastic=0.0)
    _, params, model_state = constant()
    task = Classification(Spy(), mirrored, "inception_v3", resize=8)
    batch = {**batch, "image_hu": jnp.full((3, 8, 8), -175, jnp.int16).at[:, :, 0].set(250)}
    task.loss(params, model_state, batch, jax.random.key(0))
    task.evaluate(params, model_state, batch)
    assert (seen[0][:, :, 7] == 1).all() and (seen[0][:, :, 0] == -1).all()
    assert (seen[1][:, :, 0] == 1).all()


def dataset(sarcopenia, split=("train", "train", "validation"), **manifest):
    case_id = [f"case{i}" for i in range(len(sarcopenia))]
    slices = stack([np.zeros((4, 4), np.int16)] * 3, [np.zeros((4, 4), np.uint8)] * 3, np.ones((3, 2)), case_id)
    labels = pd.array(sarcopenia, dtype="Int64")
    cases = pd.DataFrame({"case_id": case_id, "split": split, "sarcopenia": labels, "mask": ""})
    return Dataset(slices, cases, manifest)


CONFIG = {
    "name": "classification",
    "model": {"name": "resnet50", "num_classes": 2, "stage_sizes": [1, 1, 1, 1], "width": 8},
    "augmentation": {"shift": 0.25},
    "class_weights": [1.0, 3.0],
    "policy": "freezeall",
}


def test_build_takes_a_config_that_went_through_json():
    task = tasks.build(CONFIG)
    assert (task.network, task.variant, task.class_weights) == ("resnet50", "torchvision", (1.0, 3.0))
    assert (task.freeze, task.augmentation.shift) == (("backbone/.*",), 0.25)
    hash(task)


def test_the_last_ten_layers_are_told_of_each_network_once(caplog):
    tasks._say.cache_clear()
    caplog.set_level("INFO")
    for name in ("resnet50", "keras_resnet50", "resnet50"):
        config = {**CONFIG, "model": {"name": name, "num_classes": 2}, "policy": "unfreezetop10"}
        told = len(caplog.messages)
        tasks.build(config)
        assert len(caplog.messages) == told, "who trains says it, and not who evaluates"
        tasks.say_policy(config)
    tasks.say_policy(CONFIG)
    told = [message.partition(": beside the head, these layers learn")[0] for message in caplog.messages]
    assert told == ["resnet50, unfreezetop10", "keras_resnet50, unfreezetop10"]


def test_a_policy_may_be_regexes():
    assert tasks.build({**CONFIG, "policy": ["backbone/bn1/.*"]}).freeze == ("backbone/bn1/.*",)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"policy": "thaw"}, "policy 'thaw' is unknown; choose one of freezeall, unfreezetop10, unfreezeall"),
        ({"freeze": []}, "either freeze, regexes, or policy"),
        ({"network": "resnet50"}, "task classification has no field network"),
        ({"model": {**CONFIG["model"], "num_classes": 3}}, "a network of 3 classes; set model.num_classes=2"),
        ({"preprocessing": "none"}, "preprocessing 'none' is unknown"),
        ({"values": "rgb"}, "values 'rgb'; choose one of hu, grey"),
        ({"class_weights": [1.0]}, r"class_weights=\(1.0,\); give one above 0"),
        ({"class_weights": ["equal"]}, r"class_weights \('equal',\) are no numbers; give one above 0 .* or balanced"),
        ({"class_weights": [1.0, 0.0]}, "give one above 0 for each of the two classes"),
        ({"resize": 0}, "resize=0"),
        ({"model": {**CONFIG["model"], "name": "fcn_resnet101"}}, "no preprocessing is known of fcn_resnet101"),
    ],
)
def test_build_refuses_in_one_sentence(change, message):
    with pytest.raises(ValueError, match=message):
        tasks.build({**CONFIG, **change})


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (dataset([0, None, 1]), "1 of 3 cases have no label, such as case1; give each a sarcopenia of 0 or 1"),
        (dataset([0, 0, 1]), "all 2 training cases have sarcopenia 0; give cases of both classes the split train"),
        (dataset([0, 1, 1], values="grey"), "holds grey values and config.task.values is 'hu'; set --config.task.v"),
    ],
)
def test_a_dataset_one_cannot_learn_from_is_refused(made, message):
    with pytest.raises(ValueError, match=message):
        tasks.check_dataset(CONFIG, made)


def test_a_dataset_one_can_learn_from_passes():
    tasks.check_dataset(CONFIG, dataset([0, 1, 1]))
    tasks.check_dataset({**CONFIG, "values": "grey"}, dataset([0, 1, 1], values="grey"))
    tasks.check_dataset(CONFIG, dataset([1, 1, 0], split=("test", "test", "test")))
