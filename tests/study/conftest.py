"""Scans to be measured; DICOM series are written with the tools of tests/data."""

import sys
from pathlib import Path

import numpy as np
import pytest
import small_study
from made_once import made_once
from scans import SHAPE, SPACING, muscle, scan_hu, write_nifti

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))


@pytest.fixture
def nifti(tmp_path):
    return write_nifti(tmp_path / "ct.nii.gz", scan_hu())


@pytest.fixture
def mask(tmp_path):
    return write_nifti(tmp_path / "drawn.nii.gz", muscle())


@pytest.fixture
def series(tmp_path):
    from dicom_files import write_series

    identity = {"PatientName": "Doe^Jane", "PatientID": "H-4711", "PatientBirthDate": "19500102"}
    positions = np.arange(SHAPE[0])[:, None] * [0.0, 0.0, SPACING[0]]
    write_series(tmp_path / "series", scan_hu(), SPACING, positions_mm=positions, **identity)
    return tmp_path / "series"


@pytest.fixture(scope="session")
def squares(tmp_path_factory):
    """The dataset folder of `small_study`, with readers.csv beside it."""
    return made_once(tmp_path_factory, "squares", small_study.write_dataset)


@pytest.fixture(scope="session")
def pretrained(squares, tmp_path_factory):
    """A study folder with nothing but its pretexts."""
    study = small_study.config(squares)
    return made_once(tmp_path_factory, "pretrained", lambda folder: small_study.train_pretexts(study, folder))


@pytest.fixture(scope="session")
def study(squares, pretrained, tmp_path_factory):
    """The folder of a study that was trained straight through on 8 lanes; compilations.json beside it counts its."""
    return made_once(tmp_path_factory, "study", lambda folder: small_study.train(squares, pretrained, folder))


@pytest.fixture
def canvases(monkeypatch):
    """The figures that are drawn in a test, by their plate's name, instead of their files."""
    from matplotlib.figure import Figure

    from mskjax.study import plates

    drawn = {}

    def make(name, title, description, caption, size_inches, draw):
        drawn[name] = Figure(figsize=size_inches)
        draw(drawn[name])
        return plates.Plate(name, title, description, caption, b"png", b"pdf")

    monkeypatch.setattr(plates, "make", make)
    return drawn
