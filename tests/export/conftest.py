"""One run of slices, with its dataset, for all tests of exports."""

import exported_runs
import pytest

from mskjax.export.exporting import export


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    return exported_runs.write_run(folder / "run", exported_runs.write_slices(folder / "dataset"))


@pytest.fixture(scope="session")
def program(run, tmp_path_factory):
    """A StableHLO file, and what was said of it."""
    file = tmp_path_factory.mktemp("program") / "muscle.stablehlo"
    return file, export(run, file, "stablehlo", **exported_runs.SHAPE)
