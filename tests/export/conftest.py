"""One run of slices, with its dataset, for all tests of exports."""

import exported_runs
import pytest


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exports")
    return exported_runs.write_run(folder / "run", exported_runs.write_slices(folder / "dataset"))
