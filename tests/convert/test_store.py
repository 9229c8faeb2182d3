"""Variables come back as they were saved, with their metadata; other files are refused by name."""

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from mskjax.convert import load_variables, save_variables
from mskjax.convert.store import read_metadata


def test_round_trip(tmp_path):
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    half = jnp.array([1.5, 2.5], jnp.bfloat16)
    variables = {"params": {"a": {"kernel": turned}, "b": {"bias": half}}, "batch_stats": {"a": {"n": np.float64(3)}}}
    save_variables(tmp_path / "w.safetensors", variables, {"source": "ä.pth"})
    loaded, metadata = load_variables(tmp_path / "w.safetensors")
    assert metadata == read_metadata(tmp_path / "w.safetensors") == {"source": "ä.pth"}
    np.testing.assert_array_equal(loaded["params"]["a"]["kernel"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(loaded["params"]["b"]["bias"], np.asarray(half))
    assert loaded["params"]["b"]["bias"].dtype == jnp.bfloat16
    assert loaded["batch_stats"]["a"]["n"].shape == ()
    assert loaded["batch_stats"]["a"]["n"].dtype == np.float64


def test_nothing_half_written_stays(tmp_path):
    path = tmp_path / "w.safetensors"
    save_variables(path, {"params": {"a": np.zeros(2)}}, {})
    with pytest.raises(Exception):  # noqa: B017 - whatever the writer makes of an array of objects
        save_variables(path, {"params": {"a": np.array([object()])}}, {})
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]
    assert load_variables(path)[0]["params"]["a"].shape == (2,)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_variables(path, {"params": {"a": np.zeros(20)}}, {})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"w\.safetensors is cut short"):
        load_variables(path)
    save_file({"conv1.weight": np.zeros(2)}, path)
    with pytest.raises(ValueError, match=r"w\.safetensors holds no variables"):
        load_variables(path)
    with pytest.raises(ValueError, match="is a folder"):
        load_variables(tmp_path)
    with pytest.raises(OSError, match="absent"):
        load_variables(tmp_path / "absent.safetensors")


def test_a_task_may_keep_more_than_a_network(tmp_path):
    variables = {"params": {"kernel": np.ones(2, np.float32)}, "teacher": {"kernel": np.zeros(2, np.float32)}}
    save_variables(tmp_path / "own.safetensors", variables)
    assert load_variables(tmp_path / "own.safetensors")[0].keys() == {"params", "teacher"}
