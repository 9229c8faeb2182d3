"""The plan of study A: which cells it has, which patients each trains on, and the run config of each.

The patients of the cohort are shuffled into folds. Each fold in turn validates, and the patients of the others are
shuffled anew for each draw: the first n of that order train, so that subsets are nested. Every order depends on the
seed, the set of patients and its own fold and draw alone: more sizes, initialisations, draws or seeds add cells and
leave the others as they are. n counts patients; all slices of a chosen patient train.
"""

import re
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mskjax.data.dataset import Dataset, require_hu, require_masks
from mskjax.data.splits import counted
from mskjax.study import cohort, settings
from mskjax.study.cohort import Cohort
from mskjax.study.settings import Config, is_whole, plain

# What random numbers are drawn for; it leads the entropy, so that no two purposes share a stream.
FOLDS, DRAW, RUN, PRETEXT_SPLIT, PRETEXT_RUN = range(1, 6)
LEAST = {"seed": 0, "folds": 2, "draws": 1, "seeds": 1, "devices": 0} | dict.fromkeys(
    ("image_size", "batch_size", "epochs", "patience"), 1
)
NUMBERS = {
    "alpha": (lambda value: 0 < value < 1, "above 0 and below 1"),
    "bootstrap_samples": (lambda value: is_whole(value, 100), "a whole number from 100 on"),
    "checkpoint_minutes": (lambda value: value >= 0, "0 or more"),
    "leave_out": (
        lambda value: all(re.fullmatch(r"[^:]+:\d+", point) for point in value),
        "points of an initialisation and n, such as ('random:5',)",
    ),
}
WORDS = {"keep": ("weights", "predictions"), "missing_weights": ("refuse", "skip")}
PRETEXTS = "pretexts"  # their folder in the study's, which `init_from` of a start names
# What may change when a study goes on, beside what may change in a run: further cells, and all that concerns results.
FREE = ("inits", "sizes", "draws", "seeds", "missing_weights", "keep", "observers", "alpha", "bootstrap_samples")
FREE += ("leave_out",)


@dataclass(frozen=True)
class Cell:
    """One training of a study: which repeat (fold, draw, seed), from which weights, on how many patients.

    `train_cases` are the case ids of n patients, `validation_cases` those of the whole fold.
    """

    fold: int
    draw: int
    seed: int
    init: str
    n: int
    train_cases: tuple[str, ...]
    validation_cases: tuple[str, ...]

    @property
    def name(self) -> str:
        """The cell's folder in `cells/`."""
        return f"{self.init}_n{self.n:03d}_fold{self.fold}_draw{self.draw}_seed{self.seed}"

    @property
    def row(self) -> str:
        """The cell's row in tables of cells."""
        return self.init

    @property
    def column(self) -> str:
        """The cell's column in tables of cells."""
        return f"n={self.n}"

    @property
    def pace(self) -> str:
        """What the cell has in common with those that take as long."""
        return self.column

    def run_seed(self, study_seed: int) -> int:
        """The seed, below 2^31, of the cell's initial weights, batches, augmentation and dropout; its own by chance."""
        place = (self.fold, self.draw, self.seed, self.n, zlib.crc32(self.init.encode()))
        return _seed(RUN, *place, study_seed)


def plan(cases: pd.DataFrame, config: Config) -> list[Cell]:
    """The cells of a study on the cases of a dataset, as cases.csv lists them, by configs/data_efficiency.py.

    One seed and draw follows the other, so that a study that is stopped early has whole learning curves of every
    initialisation. Within one, cells of equal n are neighbours, because those that are trained side by side go from
    epoch to epoch together, and the largest n comes first, so that the last cells to be waited for are short. Raises
    `ValueError` for a config or a cohort that does not allow the study.
    """
    study = checked(config)
    patients = cohort.gather(cases, study["slices_as_patients"])
    cohort.check_size(patients, study["folds"], max(study["sizes"]))
    folds = _folds(patients, study)
    return [
        Cell(
            fold=fold,
            draw=draw,
            seed=seed,
            init=init,
            n=n,
            train_cases=patients.cases(_order(patients, folds[fold], fold, draw, study["seed"])[:n]),
            validation_cases=patients.cases(folds[fold]),
        )
        for seed, draw in product(range(study["seeds"]), range(study["draws"]))
        for n in reversed(study["sizes"])
        for fold in range(study["folds"])
        for init in study["inits"]
    ]


def pretexts(config: Config) -> list[str]:
    """The names of the pretexts that the study's initialisations start from."""
    study = plain(config)
    starts = {study["starts"][init]["init_from"] for init in study["inits"]}
    return [name for name in study["pretexts"] if f"{PRETEXTS}/{name}" in starts]


def pretext_split(cases: pd.DataFrame, config: Config) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The case ids that train the pretexts and those that validate them: whole patients, all of them of the cohort.

    `config.pretext_validation_fraction` of the patients, rounded and at least one, validate; with 0 none does.
    """
    study = checked(config)
    patients, fraction = cohort.gather(cases, study["slices_as_patients"]), study["pretext_validation_fraction"]
    validating = max(round(fraction * len(patients.slices)), 1) if fraction else 0
    if validating >= len(patients.slices):
        raise ValueError(
            f"config.pretext_validation_fraction {fraction} of {counted(len(patients.slices), 'patient')} leaves "
            "none to train the pretexts; lower it, or prepare more patients"
        )
    order = _shuffled(patients.patients, PRETEXT_SPLIT, study["seed"])
    return patients.cases(order[validating:]), patients.cases(order[:validating])


def run_config(config: Config, cell: Cell) -> dict[str, Any]:
    """The config of a cell's run, as config.json reads back: the fields of configs/segmentation.py, and "cell".

    `init_from` is as in `config.starts`: a path below "pretexts/" is relative to the study's folder.
    """
    study = plain(config)
    start, seed = study["starts"][cell.init], cell.run_seed(study["seed"])
    return plain({**_run(study, study, seed, start, devices=1), "cell": asdict(cell)})


def pretext_config(config: Config, name: str) -> dict[str, Any]:
    """The config of the run of pretext `name`, from random weights, with the fields of configs/segmentation.py.

    Of a given number of devices it takes as many as its batch can be split over.
    """
    study = plain(config)
    pretext, seed = study["pretexts"][name], _seed(PRETEXT_RUN, zlib.crc32(name.encode()), study["seed"])
    start = {"init_from": "", "fresh": [], "learning_rate": pretext["learning_rate"]}
    devices = next((n for n in range(study["devices"], 0, -1) if pretext["batch_size"] % n == 0), 0)
    return _run(study, pretext, seed, start, devices)


def notes(cases: pd.DataFrame, config: Config) -> list[str]:
    """What the report must say of the cohort, a sentence or two each; often nothing."""
    as_patients = plain(config)["slices_as_patients"]
    return cohort.describe(cohort.gather(cases, as_patients), as_patients)


def checked(config: Config) -> dict[str, Any]:
    """A study's config as `plain` gives it; `ValueError` for the first number or word in it that cannot be."""
    study = plain(config)
    settings.check_whole(study, LEAST)
    sizes, fraction = study["sizes"], study["pretext_validation_fraction"]
    if not sizes or not all(is_whole(n, 1) for n in sizes) or sizes != sorted(set(sizes)):
        raise ValueError(f"config.sizes is {sizes}; it must be whole numbers above 0, each larger than the one before")
    if not 0 <= fraction < 1:
        raise ValueError(f"config.pretext_validation_fraction is {fraction}; it must be 0 or more and below 1")
    settings.check_rules(study, NUMBERS)
    settings.check_words(study, WORDS)
    _check_inits(study)
    return study


def check(study: Mapping[str, Any], dataset: Dataset) -> None:
    """Raises `ValueError` or `OSError` for slices without HU or masks, nobody held out, or a missing readers' table."""
    require_hu(dataset, "study A")
    require_masks(dataset, "study A")
    cohort.check_sides(study["dataset"], dataset)
    if study["observers"] and not Path(study["observers"]).is_file():
        raise FileNotFoundError(f"config.observers {study['observers']} is missing; name a CSV of readers' masks")


def factors(study: Mapping[str, Any]) -> list[tuple[int, str]]:
    """The numbers whose product the cells are, each with its noun."""
    counts = {"initialisation": len(study["inits"]), "size": len(study["sizes"])}
    return [(count, noun) for noun, count in (counts | {n: study[f"{n}s"] for n in ("fold", "draw", "seed")}).items()]


def _check_inits(study: Mapping[str, Any]) -> None:
    inits, starts, pretexts = study["inits"], study["starts"], study["pretexts"]
    settings.check_names(study, "inits", "initialisation", tuple(starts), "config.starts has")
    for init in inits:
        settings.check_positive(f"starts.{init}", starts[init], ("learning_rate",))
        folder, _, name = starts[init]["init_from"].partition("/")
        if folder == PRETEXTS:
            if name not in pretexts:
                raise ValueError(f"{init!r} needs pretext {name!r}; config.pretexts has {', '.join(pretexts)}")
            positive = ("learning_rate", "batch_size", "epochs", "patience")
            settings.check_positive(f"{PRETEXTS}.{name}", pretexts[name], positive)


def _folds(patients: Cohort, study: Mapping[str, Any]) -> list[list[str]]:
    """The patients of each fold; their numbers differ by at most one."""
    order = _shuffled(patients.patients, FOLDS, study["seed"])
    return [part.tolist() for part in np.array_split(np.array(order, object), study["folds"])]


def _order(patients: Cohort, validating: list[str], fold: int, draw: int, seed: int) -> list[str]:
    """The patients who do not validate in fold `fold`, in the order in which draw `draw` takes them."""
    return _shuffled(sorted(set(patients.slices) - set(validating)), DRAW, fold, draw, seed)


def _run(
    study: Mapping[str, Any], training: Mapping[str, Any], seed: int, start: Mapping[str, Any], devices: int
) -> dict[str, Any]:
    """The fields of configs/segmentation.py, in its order; `training` holds the task, the batch size and the length."""
    return {
        "dataset": study["dataset"],
        "seed": seed,
        "image_size": study["image_size"],
        "task": training["task"],
        **{name: start[name] for name in ("init_from", "fresh")},
        "resume": "",
        "learning_rate": start["learning_rate"],
        **{name: training[name] for name in ("batch_size", "epochs", "patience")},
        "stop_on": "both",
        "checkpoint_minutes": study["checkpoint_minutes"],
        **settings.on_devices(devices),
    }


def _seed(*entropy: int) -> int:
    # Below 2^31, which jax.random.key takes whatever the width of its integers.
    return int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1)


def _shuffled(names: list[str], *entropy: int) -> list[str]:
    return [names[i] for i in np.random.default_rng(entropy).permutation(len(names))]
