"""The kinds of study that `launch.sweep` runs, each told by what it does differently from the others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import pandas as pd

from mskjax.data.dataset import Dataset
from mskjax.data.volume_folder import read_volumes
from mskjax.study import data_efficiency, sarcopenia, sarcopenia_cohort, sarcopenia_segmentation, starts
from mskjax.study.cell_run import Judge
from mskjax.study.mask_judge import mask_judge
from mskjax.study.probability_judge import probability_judge
from mskjax.study.settings import Config, plain
from mskjax.study.volume_judge import volume_judge

Cases = tuple[str, ...]


@runtime_checkable
class Cell(Protocol):
    """One training of a study."""

    @property
    def name(self) -> str:
        """The cell's folder in `cells/`."""
        ...

    @property
    def row(self) -> str:
        """Its row in tables of cells."""
        ...

    @property
    def column(self) -> str:
        """Its column in tables of cells."""
        ...

    @property
    def pace(self) -> str:
        """What it has in common with cells that take as long."""
        ...

    @property
    def train_cases(self) -> Cases:
        """The case ids that train."""
        ...

    @property
    def validation_cases(self) -> Cases:
        """The case ids that validate."""
        ...


@dataclass(frozen=True)
class Kind:
    """A kind of study as functions of its config, which `checked` has passed; `axis` names the field of what starts.

    `plan` gives the cells, `run_config` the run of each; `check` raises `ValueError` or `OSError` where a dataset does
    not serve, of which `learned` is what networks may learn from. `missing` names the entries of `axis` whose weights
    are not there, with the command that adds each. `free` are the fields that may change when a study goes on,
    `factors` the numbers whose product the cells are, `notes` what a report must say of the cohort. `masks` gives
    the case ids whose masks a cell keeps.
    """

    axis: str
    masks: Callable[[pd.DataFrame, Any], Cases]
    free: tuple[str, ...]
    checked: Callable[[Config], dict[str, Any]]
    check: Callable[[Mapping[str, Any], Dataset], None]
    learned: Callable[[Dataset], Dataset]
    missing: Callable[[Mapping[str, Any]], dict[str, str]]
    plan: Callable[[pd.DataFrame, Config], Sequence[Any]]
    run_config: Callable[[Config, Any], dict[str, Any]]
    judge: Callable[[Dataset, Any, Mapping[str, Any]], Judge]
    factors: Callable[[Mapping[str, Any]], list[tuple[int, str]]]
    notes: Callable[[pd.DataFrame, Config], list[str]]
    pretexts: Callable[[Config], list[str]] = lambda config: []
    pretext_config: Callable[[Config, str], dict[str, Any]] = lambda config, name: {}
    pretext_split: Callable[[pd.DataFrame, Config], tuple[Cases, Cases]] = lambda cases, config: ((), ())


def _held_out(cases: pd.DataFrame, cell: Any) -> Cases:
    return tuple(cases["case_id"][cases["split"] == "test"])


def _judged(cases: pd.DataFrame, cell: Any) -> Cases:
    return (*cell.validation_cases, *cell.test_cases)


def _none(cases: pd.DataFrame, cell: Any) -> Cases:
    return ()


def _of_slices(judge: Callable[[Dataset, Any, int, int], Judge]) -> Callable[[Dataset, Any, Mapping[str, Any]], Judge]:
    """A judge that needs of a run's config no more than the size of its slices and of its batches."""
    return lambda dataset, task, run: judge(dataset, task, run["image_size"], run["batch_size"])


def _of_volumes(dataset: Dataset, task: Any, run: Mapping[str, Any]) -> Judge:
    return volume_judge(dataset, read_volumes(run["dataset"]), task, run)


KINDS = {
    "data_efficiency": Kind(
        axis="inits",
        masks=_held_out,
        free=data_efficiency.FREE,
        checked=data_efficiency.checked,
        check=data_efficiency.check,
        learned=Dataset.without_test,
        missing=starts.missing,
        plan=data_efficiency.plan,
        run_config=data_efficiency.run_config,
        judge=_of_slices(mask_judge),
        factors=data_efficiency.factors,
        notes=data_efficiency.notes,
        pretexts=data_efficiency.pretexts,
        pretext_config=data_efficiency.pretext_config,
        pretext_split=data_efficiency.pretext_split,
    ),
    "sarcopenia_classification": Kind(
        axis="networks",
        masks=_none,
        free=sarcopenia.FREE,
        checked=sarcopenia.checked,
        check=sarcopenia.check,
        learned=sarcopenia.learned,
        missing=sarcopenia.missing,
        plan=sarcopenia.plan,
        run_config=sarcopenia.run_config,
        judge=_of_slices(probability_judge),
        factors=sarcopenia.factors,
        notes=sarcopenia_cohort.notes,
    ),
    "sarcopenia_segmentation": Kind(
        axis="inits",
        masks=_judged,
        free=sarcopenia_segmentation.FREE,
        checked=sarcopenia_segmentation.checked,
        check=sarcopenia_segmentation.check,
        learned=sarcopenia_segmentation.learned,
        missing=sarcopenia_segmentation.missing,
        plan=sarcopenia_segmentation.plan,
        run_config=sarcopenia_segmentation.run_config,
        judge=_of_volumes,
        factors=sarcopenia_segmentation.factors,
        notes=sarcopenia_cohort.notes,
    ),
}


def axes(cells: Sequence[Cell]) -> tuple[list[str], list[str]]:
    """The rows and the columns of a table of cells, columns with fewer training cases first."""
    by_size = sorted(cells, key=lambda cell: len(cell.train_cases))
    return list(dict.fromkeys(cell.row for cell in cells)), list(dict.fromkeys(cell.column for cell in by_size))


def kind_of(config: Config) -> Kind:
    """The kind of study that a config describes; `ValueError` where it describes none."""
    name = plain(config).get("study")
    if name not in KINDS:
        told = "this is the config of a run, for launch.train" if name is None else f"config.study is {name!r}"
        raise ValueError(f"{told}; a study is one of {', '.join(KINDS)}, as configs/data_efficiency.py is")
    return KINDS[name]
