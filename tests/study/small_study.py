"""A study that trains in seconds: small squares of muscle, a network of 70,000 weights, and readers who are known."""

import json
import shutil
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from compilations import compilations

from configs.data_efficiency import get_config
from mskjax.data import prepare
from mskjax.data.dataset import Dataset
from mskjax.data.pairs import Pair
from mskjax.study import sweep
from mskjax.study.data_efficiency import pretexts
from mskjax.training.signals import Caught

# Rows and columns, and their spacing in mm: odd, and no two neighbours alike.
GRIDS = (((33, 41), (2.0, 1.5)), ((47, 35), (1.0, 2.5)), ((29, 29), (2.0, 2.0)))
COHORT, TEST = 8, 5
PROGRAMS = ("train_step", "evaluate_step", "end_epoch", "predict")
READERS = {"Ann": 1, "Bob": 2}  # by how many columns their masks lie beside the expert's


def write_dataset(folder: Path) -> Path:
    """A dataset folder, and beside it readers.csv; the cohort is p0 to p7, the test cases are p8 to p12."""
    rng, pairs, lines = np.random.default_rng(0), [], ["case,reader,file"]
    for i in range(COHORT + TEST):
        shape, spacing_mm = GRIDS[i % len(GRIDS)]
        mask = np.zeros((1, *shape), np.uint8)
        row, column = rng.integers(2, 9, 2)
        mask[0, row : row + 15, column : column + 12] = 1
        image_hu = (np.where(mask, 60, -100) + rng.normal(0, 20, mask.shape)).astype(np.int16)
        files = [
            _write(folder / f"{name}{i}.nii", array, spacing_mm) for name, array in (("ct", image_hu), ("m", mask))
        ]
        about = {"split": "test" if i >= COHORT else "train"}
        pairs.append(Pair(*files, case_id=f"p{i}", patient_id=f"p{i}", slices="0", about=about))
        for reader, shift in READERS.items() if i >= COHORT else ():
            file = _write(folder / f"{reader}{i}.nii", np.roll(mask, shift, axis=2), spacing_mm)
            lines.append(f"p{i},{reader},{file}")
    assert prepare.prepare(pairs, folder / "dataset", prepare.Shares(0.0, 0.0)) == {}
    (folder / "readers.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "dataset"


def config(squares: Path, /, **fields):
    """12 cells of 4 epochs on as many of the 8 devices as there is work for; pretexts of one epoch, on one device."""
    chosen = get_config("smoke")
    readers = {"observers": str(squares.parent / "readers.csv"), "alpha": 0.05, "bootstrap_samples": 100}
    chosen.update({"dataset": str(squares), "epochs": 4, **readers})
    for pretext in chosen.pretexts.values():
        pretext.update({"batch_size": 1, "epochs": 1})
    chosen.update(fields)
    return chosen


def train_pretexts(study, workdir: Path) -> Path:
    plain, dataset, _ = sweep.prepare(study, workdir)
    for name in pretexts(plain):
        sweep.train_pretext(sweep.Work(plain, dataset, workdir, Caught()), name)
    return workdir


def train(squares: Path, pretrained: Path, folder: Path) -> Path:
    """Trains the study, and writes how often each program was compiled for it to compilations.json beside it."""
    workdir = begin(pretrained, folder / "study")
    with compilations() as count:
        assert sweep.sweep(config(squares), workdir) == {}
    (folder / "compilations.json").write_text(json.dumps({name: count(name) for name in PROGRAMS}))
    return workdir


def begin(pretrained: Path, workdir: Path) -> Path:
    """A study folder whose pretexts are there."""
    shutil.copytree(pretrained / "pretexts", workdir / "pretexts")
    return workdir


def contents(folder: Path) -> dict[str, bytes]:
    """The bytes of all files by their path."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def of_cells(workdir: Path, *names: str) -> dict[str, bytes]:
    """The bytes of the files of these names in all cells."""
    return {name: value for name, value in contents(workdir / "cells").items() if Path(name).name in names}


def held_out(dataset: Dataset):
    return dataset.slices.select(dataset.rows("test"))


def _write(path: Path, array: np.ndarray, spacing_mm) -> Path:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((spacing_mm[1], spacing_mm[0], 5.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path
