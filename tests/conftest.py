"""Shared by all tests: checks of shapes and types, 8 simulated devices, quick compilations, and the real CT."""

import gc
import os
import tempfile
from pathlib import Path

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
# Most of XLA's optimisations take longer than what they would speed up here. Workers, and launchers that tests start,
# inherit all this, and so each program is compiled once.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
if "PYTEST_XDIST_WORKER" not in os.environ:
    CACHE = tempfile.TemporaryDirectory(prefix="mskjax-tests-")  # removed as the tests end
    os.environ["JAX_COMPILATION_CACHE_DIR"] = CACHE.name

from jaxtyping import install_import_hook

install_import_hook("mskjax", "beartype.beartype")

import pytest
from absl import logging

ROOT = Path(__file__).resolve().parents[1]


def pytest_collection_modifyitems(items):
    """What takes longest, the tests that train, comes first, so that no worker has them left when others are done."""
    items.sort(key=lambda item: item.path.parent.name not in ("training", "study"))


@pytest.fixture(scope="session")
def real_ct() -> Path:
    """The folder of real CT, `MSKJAX_TEST_DATA` or ../shared/data beside the repository; skips where it is absent."""
    folder = Path(os.environ.get("MSKJAX_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real CT in {folder}; set MSKJAX_TEST_DATA to the folder that holds it")
    return folder


@pytest.fixture(autouse=True)
def logs_are_as_verbose_as_caplog_asks():
    """Whatever was tested before: parsing flags leaves absl's logger at warnings for the rest of the process."""
    logging.get_absl_logger().setLevel(0)


@pytest.fixture(scope="module", autouse=True)
def garbage_is_looked_for_once():
    """Not again in the millions of objects that earlier modules left, as a library may ask for at each call."""
    gc.collect()
    gc.freeze()
