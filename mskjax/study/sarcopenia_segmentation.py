"""The plan of study B's muscle masks: each initialisation on each of ten stratified shuffles of whole scans.

Every labelled patient takes part in every shuffle, to train, to validate or to test: the split column of the dataset
plays no role. All initialisations see the same shuffles. Labels only stratify; what is learned is the masks.
"""

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mskjax import tasks
from mskjax.convert.manifest import conversion_command
from mskjax.data.dataset import Dataset, require_hu, require_masks
from mskjax.data.volume_folder import is_of_volumes
from mskjax.measure import cutoffs
from mskjax.models.smit import STRIDE
from mskjax.study import cohort, settings, shuffles, starts
from mskjax.study.settings import Config, plain
from mskjax.training.job import DECAY, STOP_ON
from mskjax.training.supply import check_spacing

LEAST = {
    **dict.fromkeys(("seed", "devices", "warmup_epochs", "keep_epochs"), 0),
    **dict.fromkeys(("shuffles", "image_size", "crops_per_scan", "batch_size", "epochs", "patience"), 1),
}


def _are_fractions(value: Any) -> bool:
    return len(value) == len(shuffles.CLASSES) and all(0 < own < 1 for own in value)


_EACH = f"one number above 0 and below 1 for each of {', '.join(shuffles.CLASSES.values())}"
RULES: dict[str, settings.Rule] = {
    "checkpoint_minutes": (lambda value: value >= 0, "0 or more"),
    "image_size": (lambda value: value % STRIDE == 0, f"a multiple of {STRIDE}"),
    "learning_rate": (lambda value: value > 0, "above 0"),
    "overlap": (lambda value: 0 <= value < 1, "at least 0 and below 1"),
    "spacing_mm": (lambda value: len(value) == 3 and all(mm > 0 for mm in value), "three lengths above 0, in mm"),
    "test_fractions": (_are_fractions, _EACH),
    "validation_fractions": (_are_fractions, _EACH),
    "weight_decay": (lambda value: value >= 0, "0 or more"),
}
WORDS = {
    "decay": DECAY,
    "keep": ("weights", "predictions"),
    "missing_weights": ("refuse", "skip"),
    "stop_on": STOP_ON,
    "stratify": ("label", "label_and_sex"),
}
# What may change when a study goes on: further cells, and all that concerns results.
FREE = ("inits", "shuffles", "missing_weights", "keep", "cutoffs")
_RUN = 8  # leads the entropy of the cells' seeds
_AS_THEY_ARE = (
    *("image_size", "spacing_mm", "overlap", "crops_per_scan", "task", "learning_rate", "weight_decay", "batch_size"),
    *("epochs", "patience", "stop_on", "warmup_epochs", "decay", "keep_epochs", "checkpoint_minutes"),
)


@dataclass(frozen=True)
class Cell:
    """One training of the study: an initialisation on one shuffle; the case ids of whole patients, a scan each."""

    init: str
    shuffle: int
    train_cases: tuple[str, ...]
    validation_cases: tuple[str, ...]
    test_cases: tuple[str, ...]

    @property
    def name(self) -> str:
        """The cell's folder in `cells/`."""
        return f"{self.init}_shuffle{self.shuffle}"

    @property
    def row(self) -> str:
        """The cell's row in tables of cells."""
        return self.init

    @property
    def column(self) -> str:
        """The cell's column in tables of cells: there is one."""
        return "shuffles"

    @property
    def pace(self) -> str:
        """What the cell has in common with those that take as long: all train one network on as many scans."""
        return self.column


def plan(cases: pd.DataFrame, config: Config) -> list[Cell]:
    """The cells of the study, initialisation after initialisation.

    Raises `ValueError` for a config or labels that do not allow it.
    """
    study = checked(config)
    labelled = shuffles.gather(cases)
    drawn = [shuffles.cases_of(labelled, parts) for parts in shuffles.every(labelled, study)]
    return [Cell(init, number, **drawn[number]) for init, number in product(study["inits"], range(study["shuffles"]))]


def run_config(config: Config, cell: Cell) -> dict[str, Any]:
    """The config of a cell's run: the fields of configs/smit_segmentation.py, and "cell"."""
    study = plain(config)
    entropy = (_RUN, zlib.crc32(cell.init.encode()), cell.shuffle, study["seed"])
    return plain(
        {
            "dataset": study["dataset"],
            # Below 2^31, which jax.random.key takes whatever the width of its integers.
            "seed": int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1),
            **{name: study["starts"][cell.init][name] for name in ("init_from", "fresh")},
            "resume": "",
            **{name: study[name] for name in _AS_THEY_ARE},
            **settings.on_devices(1),
            "cell": asdict(cell),
        }
    )


def checked(config: Config) -> dict[str, Any]:
    """The study's config as `plain` gives it; `ValueError` for the first field in it that cannot be."""
    study = plain(config)
    settings.check_whole(study, LEAST)
    settings.check_rules(study, RULES)
    shuffles.check_fractions(study)
    settings.check_words(study, WORDS)
    settings.check_words(study, {"cutoffs": tuple(dict.fromkeys(row.key for row in cutoffs.read()))})
    settings.check_names(study, "inits", "initialisation", tuple(study["starts"]), "config.starts has")
    tasks.build(study["task"])
    return study


def check(study: Mapping[str, Any], dataset: Dataset) -> None:
    """Raises `ValueError` for slices, another spacing, no labels, no masks, or one scan under two patient ids."""
    path = study["dataset"]
    require_hu(dataset, "this study")
    if not is_of_volumes(dataset.manifest):
        raise ValueError(
            f"{path} holds single slices, and this study trains on whole scans; prepare it again with launch.prepare "
            f"--spacing_mm={','.join(f'{mm:g}' for mm in study['spacing_mm'])}"
        )
    check_spacing(study, dataset.manifest["spacing_mm"])
    shuffles.check_labels(path, dataset.cases)
    require_masks(dataset.select(np.flatnonzero(dataset.cases["sarcopenia"].notna())), "this study")
    cohort.check_twins(path, dataset)


def learned(dataset: Dataset) -> Dataset:
    """All of a dataset: each cell holds out a test of its own."""
    return dataset


def missing(study: Mapping[str, Any]) -> dict[str, str]:
    """The initialisations whose weights are not there, each with what adds them, as `starts.lacking` finds them."""

    def check_init(init: str) -> None:
        start = study["starts"][init]
        starts.check(start["init_from"], start["fresh"], study["task"], "config.task.model")

    def remedy(init: str) -> str:
        path = study["starts"][init]["init_from"]
        if Path(path).suffix:
            return conversion_command(path)
        return f"python -m launch.train --config=configs/smit_pretraining.py --config.dataset=SCANS --workdir={path}"

    return starts.lacking(study["inits"], check_init, remedy, study["missing_weights"])


def factors(study: Mapping[str, Any]) -> list[tuple[int, str]]:
    """The numbers whose product the cells are, each with its noun."""
    return [(len(study["inits"]), "initialisation"), (study["shuffles"], "shuffle")]
