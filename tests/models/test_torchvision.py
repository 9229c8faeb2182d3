"""Against torchvision's own ResNet and FCN: outputs, gradients and statistics of tests/golden/torchvision.npz."""

import re
import runpy
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from mskjax import models

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
RULE = runpy.run_path(str(GOLDEN / "make_torchvision.py"))
OPTIONS = {"stage_sizes": RULE["STAGE_SIZES"], "width": RULE["WIDTH"], "num_classes": RULE["NUM_CLASSES"]}
LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
HEAD = {"conv": "0", "bn": "1", "logits": "4"}
NETWORKS = ["resnet", "fcn"]


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "torchvision.npz") as file:
        return dict(file)


def torch_name(network, path):
    *modules, leaf = path
    name = re.sub(r"(layer\d)_", r"\1.", ".".join(modules))
    name = name.replace("downsample_conv", "downsample.0").replace("downsample_bn", "downsample.1")
    if "classifier" in name:
        name = re.sub(r"\w+$", lambda last: HEAD[last[0]], name)
    if network == "resnet":
        name = name.removeprefix("backbone.")
    return f"{name}.{LEAVES[leaf]}"


def to_torch(values):
    return np.asarray(values).transpose({4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[np.ndim(values)])


def from_torch(values):
    return np.asarray(values).transpose({4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[np.ndim(values)])


def images_from_torch(values):
    return values.transpose(0, 2, 3, 1) if values.ndim == 4 else values


def module_and_variables(network):
    if network == "resnet":
        module = models.build("resnet101", dtype="float64", **OPTIONS)
    else:
        module = models.build("fcn_resnet101", dtype="float64", aux_head=True, dropout=0, **OPTIONS)

    def filled(path, leaf):
        shape = np.empty(leaf.shape).transpose({4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[leaf.ndim]).shape
        return from_torch(RULE["array"](torch_name(network, path[1:]), shape))

    leaves = flatten_dict(models.abstract(module))
    return module, unflatten_dict({path: filled(path, leaf) for path, leaf in leaves.items()})


@pytest.mark.parametrize("network", NETWORKS)
def test_every_output_is_torchvisions(golden, network):
    module, variables = module_and_variables(network)
    outputs = jax.jit(module.apply)(variables, images_from_torch(RULE["image"]()))
    expected = {k.split("/")[1]: v for k, v in golden.items() if k.startswith(network) and "train" not in k}
    assert set(outputs) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(outputs[name], images_from_torch(values), rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.fixture(scope="module", params=NETWORKS)
def training_step(request, golden):
    """One training step: its network, logits, gradients, new statistics and what torchvision has for them."""
    with jax.enable_x64(True):
        module, variables = module_and_variables(request.param)

        def loss(params):
            outputs, state = module.apply(
                variables | {"params": params}, image, train=True, mutable=["batch_stats"], rngs={}
            )
            logits = {name: v for name, v in outputs.items() if name.endswith("logits")}
            total = sum((v * cotangent(v.shape)).sum() for v in logits.values())
            return total, (logits, state["batch_stats"])

        image = jnp.asarray(images_from_torch(RULE["image"]()))
        gradients, (logits, statistics) = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    prefix = f"{request.param}/train/"
    expected = {k.removeprefix(prefix): v for k, v in golden.items() if k.startswith(prefix)}
    return request.param, logits, gradients, statistics, expected


def cotangent(shape):
    torch_shape = (shape[0], shape[3], *shape[1:3]) if len(shape) == 4 else shape
    return images_from_torch(RULE["array"]("cotangent", torch_shape))


def test_training_normalises_by_the_batch(training_step):
    _, logits, _, _, expected = training_step
    for name, values in logits.items():
        np.testing.assert_allclose(values, images_from_torch(expected[name]), rtol=1e-6, atol=1e-6)


def test_gradients_of_all_parameters_are_torchvisions(training_step):
    network, _, gradients, _, expected = training_step
    reference = dict(zip(expected["parameters"], expected["gradients"], strict=True))
    gradients = {torch_name(network, path): to_torch(g) for path, g in flatten_dict(gradients).items()}
    assert set(gradients) == set(reference)
    for name, gradient in gradients.items():
        direction = RULE["array"](name, gradient.shape)
        norm, product = reference[name]
        np.testing.assert_allclose(np.linalg.norm(gradient), norm, rtol=1e-6, err_msg=name)
        np.testing.assert_allclose((gradient * direction).sum(), product, atol=1e-6 * norm * np.linalg.norm(direction))


def test_running_variance_takes_in_the_unbiased_one(training_step):
    network, _, _, statistics, expected = training_step
    statistics = {torch_name(network, path): values for path, values in flatten_dict(statistics).items()}
    running = {name: values for name, values in expected.items() if "running" in name}
    assert set(statistics) == set(running)
    for name, values in running.items():
        np.testing.assert_allclose(statistics[name], values, rtol=1e-6, atol=1e-6, err_msg=name)
