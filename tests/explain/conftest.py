"""What is compiled here is small: most of XLA's optimisations would take longer than they save."""

import jax
import pytest


@pytest.fixture(scope="package", autouse=True)
def quick_compilation():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
