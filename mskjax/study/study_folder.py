"""What the results of every kind of study ask of its folder: which dataset, which cells are done, what is new."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mskjax.data.dataset import Dataset, read_dataset
from mskjax.files import read_json
from mskjax.training import provenance
from mskjax.training.origin import dataset_sha256

SUMMARY = "summary.json"


def is_study(workdir: str | Path) -> bool:
    """Whether a folder is a study's and not a run's."""
    config = Path(workdir) / "config.json"
    return config.is_file() and "study" in read_json(config)


def kind_name(workdir: str | Path) -> str:
    """The name of a study's kind, as `mskjax.study.kinds` has it."""
    return read_json(Path(workdir) / "config.json")["study"]


def own_dataset(workdir: Path, path: Path) -> Dataset:
    """The dataset at `path`; `ValueError` where it is not the one that the study was made from."""
    data = read_dataset(path)
    if dataset_sha256(workdir) != data.manifest["sha256"]:
        raise ValueError(f"{path} is not the dataset of study {workdir}; name that one with --dataset if it has moved")
    return data


def is_done(folder: Path, config: dict[str, Any], data: Dataset) -> bool:
    """Whether a cell has ended; `ValueError` where its folder is of another config or dataset."""
    if not (folder / "DONE").is_file():
        return False
    provenance.check_config(folder, config)
    provenance.check_dataset(folder, data.manifest["sha256"])
    return True


def is_current(output: Path, files: Sequence[str], made_from: dict[str, Any]) -> bool:
    """Whether a folder of results has all of `files` and was made from just this."""
    whole = all((output / name).is_file() for name in (SUMMARY, *files))
    return whole and read_json(output / SUMMARY)["made_from"] == made_from


def answer(output: Path) -> str:
    """The results in a few lines of text, and where to read on."""
    return "\n".join([*read_json(output / SUMMARY)["answer"], f"report: {output / 'report.html'}"])
