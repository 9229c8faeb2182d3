"""Shared by all tests: shape and type checks on every mskjax function, 8 simulated devices, and the real CT."""

import os
from pathlib import Path

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

from jaxtyping import install_import_hook

install_import_hook("mskjax", "beartype.beartype")

import pytest
from absl import logging

ROOT = Path(__file__).resolve().parents[1]


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
