"""What a traced measurement gives for networks whose answer is known."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from exported_runs import write_run

from mskjax import convert
from mskjax.export import stablehlo
from mskjax.export.program import Program, network
from mskjax.files import read_json
from mskjax.models import image_convolution

SIDE = 24
# The "network" takes the HU themselves for logits: muscle is what is above 0.
CALL = jax.jit(Program(lambda squares: squares, SIDE))


def slices(count=1):
    image_hu = np.full((count, SIDE, SIDE), -50, np.float32)
    image_hu[:, 4:14, 5:17] = 40
    return image_hu


def test_area_is_that_of_the_mask_s_pixels():
    outputs = CALL(slices(), np.array([[0.75, 0.75]], np.float32))
    np.testing.assert_array_equal(outputs["mask"][0], slices()[0] > 0)
    assert outputs["mask"].dtype == bool
    assert float(outputs["area_cm2"][0]) == pytest.approx(120 * 0.75 * 0.75 / 100, rel=1e-7)
    np.testing.assert_allclose(outputs["probability"], 1 / (1 + np.exp(-slices())), atol=1e-6)


def test_bone_and_its_margin_are_no_muscle():
    image_hu = slices()
    image_hu[0, 8, 10] = 176
    outputs = CALL(image_hu, np.array([[1.0, 1.0]], np.float32))
    assert int(outputs["mask"].sum()) == 120 - 13
    assert not outputs["mask"][0, 8, 10] and outputs["probability"][0, 8, 10] > 0.5
    assert float(outputs["area_cm2"][0]) == pytest.approx(1.07)


def test_what_cannot_be_measured_has_no_area():
    spacing_mm = np.array(
        [[1, 1], [np.nan, 1], [np.inf, 1], [1, 0], [-1, -1], [0.2, 1], [0.25, 0.25], [1, 1]], np.float32
    )
    image_hu = slices(len(spacing_mm))
    image_hu[-1, 0, 0] = np.nan
    outputs = CALL(image_hu, spacing_mm)
    measured = [True, False, False, False, False, False, True, False]
    assert np.isfinite(outputs["area_cm2"]).tolist() == measured
    assert outputs["mask"].any((1, 2)).tolist() == measured


def test_the_network_computes_in_float32(tmp_path):
    run = write_run(tmp_path / "run")
    config, (variables, _) = read_json(run / "config.json"), convert.load_variables(run / "best/variables.safetensors")
    config["task"]["model"]["dtype"] = "bfloat16"
    with jax.enable_x64(True):
        traced = jax.make_jaxpr(Program(network(config, variables), 32))(
            jnp.zeros((1, 40, 40), jnp.float32), jnp.ones((1, 2), jnp.float32)
        )
    dtypes = {eqn.outvars[0].aval.dtype for eqn in traced.eqns if eqn.primitive.name == "conv_general_dilated"}
    assert dtypes == {np.dtype("float32")}


def test_no_device_multiplies_in_less_than_float32(run, monkeypatch):
    # Also in the form that CPUs have for kernels of many channels, which a small network is given here.
    monkeypatch.setattr(image_convolution, "MANY", 1)
    config, (variables, _) = read_json(run / "config.json"), convert.load_variables(run / "best/variables.safetensors")
    text = stablehlo.exported(Program(network(config, variables), 32), (40, 48)).mlir_module()
    products = re.findall(r"stablehlo\.(convolution|dot_general)\W(.*)", text)
    assert {name for name, _ in products} == {"convolution", "dot_general"}
    assert "stablehlo.case" in text
    assert not [rest for _, rest in products if len(re.findall(r"HIGHEST\b", rest)) != 2]
