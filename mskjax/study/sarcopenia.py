"""The plan of study B's classification: each network under each policy, on each of ten stratified shuffles.

Every labelled patient takes part in every shuffle, to train, to validate or to test: the split column of the dataset
plays no role. All networks and policies see the same shuffles.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from mskjax import tasks
from mskjax.convert.manifest import conversion_command
from mskjax.data.dataset import Dataset
from mskjax.models.policies import POLICIES
from mskjax.study import cohort, settings, shuffles, starts
from mskjax.study.settings import Config, is_whole, plain
from mskjax.study.shuffles import Labelled

LEAST = {"seed": 0, "shuffles": 1, "devices": 0} | dict.fromkeys(("image_size", "batch_size", "epochs", "patience"), 1)
RULES = {
    "bootstrap_samples": (lambda value: is_whole(value, 100), "a whole number from 100 on"),
    "calibration_bins": (lambda value: is_whole(value, 1), "a whole number from 1 on"),
    "checkpoint_minutes": (lambda value: value >= 0, "0 or more"),
    "learning_rate": (lambda value: value > 0, "above 0"),
    "validation_fraction": (lambda value: 0 < value < 1, "above 0 and below 1"),
    "test_fraction": (lambda value: 0 < value < 1, "above 0 and below 1"),
}
WORDS = {
    "keep": ("weights", "predictions"),
    "missing_weights": ("refuse", "skip"),
    "stop_on": ("both", "validation"),
    "stratify": ("label", "label_and_sex"),
}
# What may change when a study goes on: further cells, and all that concerns results.
FREE = ("networks", "policies", "shuffles", "missing_weights", "keep", "bootstrap_samples", "calibration_bins")
_RUN = 7  # leads the entropy of the cells' seeds


@dataclass(frozen=True)
class Cell:
    """One training of the study: a network under a policy on one shuffle; the case ids of whole patients.

    `train_counts` says how many of the training cases are not sarcopenic, and how many are.
    """

    network: str
    policy: str
    shuffle: int
    train_cases: tuple[str, ...]
    validation_cases: tuple[str, ...]
    test_cases: tuple[str, ...]
    train_counts: tuple[int, int]

    @property
    def name(self) -> str:
        """The cell's folder in `cells/`."""
        return f"{self.network}_{self.policy}_shuffle{self.shuffle}"

    @property
    def row(self) -> str:
        """The cell's row in tables of cells."""
        return self.network

    @property
    def column(self) -> str:
        """The cell's column in tables of cells."""
        return self.policy

    @property
    def pace(self) -> str:
        """What the cell has in common with those that take as long."""
        return f"{self.network} {self.policy}"


def plan(cases: pd.DataFrame, config: Config) -> list[Cell]:
    """The cells of the study, network after network, as those of one network and policy share a compiled step.

    Raises `ValueError` for a config or labels that do not allow it.
    """
    study = checked(config)
    labelled = shuffles.gather(cases)
    drawn = [_drawn(labelled, parts) for parts in shuffles.every(labelled, study)]
    return [
        Cell(network, policy, number, **drawn[number])
        for network, policy in product(study["networks"], study["policies"])
        for number in range(study["shuffles"])
    ]


def run_config(config: Config, cell: Cell) -> dict[str, Any]:
    """The config of a cell's run: the fields of configs/classification.py, and "cell"."""
    study = plain(config)
    own = study["models"][cell.network]
    entropy = (_RUN, zlib.crc32(cell.network.encode()), zlib.crc32(cell.policy.encode()), cell.shuffle, study["seed"])
    return plain(
        {
            "dataset": study["dataset"],
            # Below 2^31, which jax.random.key takes whatever the width of its integers.
            "seed": int(np.random.SeedSequence(entropy).generate_state(1)[0] >> 1),
            "image_size": study["image_size"],
            "task": _task(study, cell.network, cell.policy, cell.train_counts),
            "init_from": own["init_from"],
            "fresh": own["fresh"],
            "resume": "",
            **{name: study[name] for name in ("learning_rate", "batch_size", "epochs", "patience", "stop_on")},
            "checkpoint_minutes": study["checkpoint_minutes"],
            **settings.on_devices(1),
            "cell": {name: value for name, value in asdict(cell).items() if name != "train_counts"},
        }
    )


def checked(config: Config) -> dict[str, Any]:
    """The study's config as `plain` gives it; `ValueError` for the first field in it that cannot be."""
    study = {"stratify": "label", **plain(config)}  # as studies of before there was a choice did
    settings.check_whole(study, LEAST)
    settings.check_rules(study, RULES)
    shuffles.check_fractions(study)
    settings.check_words(study, WORDS)
    settings.check_positive("task", study["task"], ("resize",))
    settings.check_names(study, "networks", "network", tuple(study["models"]), "config.models has")
    settings.check_names(study, "policies", "policy", POLICIES, "those of a study are")
    for network, policy in product(study["networks"], study["policies"]):
        tasks.build(_task(study, network, policy, (1, 1)))
    return study


def check(study: Mapping[str, Any], dataset: Dataset) -> None:
    """Raises `ValueError` for other values than the task takes, no labels, or one slice or scan of two patient ids."""
    if dataset.values != study["task"]["values"]:
        raise ValueError(
            f"{study['dataset']} holds {dataset.values} values and config.task.values is {study['task']['values']!r}; "
            f"set --config.task.values={dataset.values}"
        )
    shuffles.check_labels(study["dataset"], dataset.cases)
    cohort.check_twins(study["dataset"], dataset)


def learned(dataset: Dataset) -> Dataset:
    """All of a dataset: each cell holds out a test of its own."""
    return dataset


def missing(study: Mapping[str, Any]) -> dict[str, str]:
    """The networks whose weights are not there, each with the command that adds them, as `starts.lacking` does."""

    def check(name: str) -> None:
        own = study["models"][name]
        starts.check(own["init_from"], own["fresh"], {**study["task"], **own["task"]}, "config.models has")

    def remedy(name: str) -> str:
        return conversion_command(study["models"][name]["init_from"])

    return starts.lacking(study["networks"], check, remedy, study["missing_weights"])


def factors(study: Mapping[str, Any]) -> list[tuple[int, str]]:
    """The numbers whose product the cells are, each with its noun."""
    return [(len(study["networks"]), "network"), (len(study["policies"]), "policy"), (study["shuffles"], "shuffle")]


def _drawn(labelled: Labelled, parts: Mapping[str, Sequence[str]]) -> dict[str, tuple[Any, ...]]:
    """What a shuffle gives its cells: the cases of each part, and how many of those that train are of each class."""
    counts = (
        sum(len(labelled.cases[who]) for who in parts["train"] if labelled.label[who] == label)
        for label in shuffles.CLASSES
    )
    return {**shuffles.cases_of(labelled, parts), "train_counts": tuple(counts)}


def _task(study: Mapping[str, Any], network: str, policy: str, train_counts: Sequence[int]) -> dict[str, Any]:
    """The task of a network under a policy, with class weights in numbers."""
    return tasks.balanced({**study["task"], **study["models"][network]["task"], "policy": policy}, train_counts)
