"""What the report of a data-efficiency study is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from mskjax.study.case_scores import CELL, in_order, of_networks, of_readers
from mskjax.study.plates import Plate

DUNNETT, BOOTSTRAP = "Dunnett", "patient bootstrap"


@dataclass(frozen=True)
class StudyFindings:
    """Scores, tables, figures and circumstances of a study; the sentences of the report are made from them.

    study: name of the study's folder.
    dataset: path of the dataset, for people.
    cases: the rows of cases.csv, of all networks trained so far and of the readers.
    headline: rows of `mskjax.study.headline` by both methods, Dunnett's test and the bootstrap over patients.
    table_1, table_2, appendix_c, appendix_d, agreement: the frames of the files of these names.
    plates: the figures at hand, in any order; absent ones are passed over.
    alpha: the level of the tests.
    planned_models: cells of the study's plan, trained or not.
    permutations: orders among which the jigsaw network chooses.
    jigsaw_accuracy: of its held-out puzzles, from 0 to 1; None where it was not trained or nothing was held out.
    phantoms: whether the cases were drawn by a program.
    missing_inits: initialisations that the study lacks, each with the command that gets its weights.
    readers_command: the command that adds readers' outlines, told where there are none.
    further_notes: more that a reader must know first, in sentences.
    provenance: nested names and values of what the study was made from.
    """

    study: str
    dataset: str
    cases: pd.DataFrame
    headline: pd.DataFrame
    table_1: pd.DataFrame
    table_2: pd.DataFrame
    appendix_c: pd.DataFrame
    appendix_d: pd.DataFrame
    agreement: pd.DataFrame
    plates: Sequence[Plate]
    alpha: float
    planned_models: int
    permutations: int = 50
    jigsaw_accuracy: float | None = None
    phantoms: bool = False
    missing_inits: Mapping[str, str] = field(default_factory=dict)
    readers_command: str = ""
    further_notes: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def inits(self) -> list[str]:
        """The initialisations that have predictions, as the tables list them."""
        return in_order(of_networks(self.cases)["init"])

    @property
    def sizes(self) -> list[int]:
        """The numbers n of training outlines, ascending."""
        return sorted({int(n) for n in of_networks(self.cases)["n"]})

    @property
    def models(self) -> int:
        """How many trained models have predictions."""
        return len(of_networks(self.cases)[["init", *CELL]].drop_duplicates())

    @property
    def test_cases(self) -> int:
        """How many cases the networks were tested on."""
        return len(set(of_networks(self.cases)["case_id"]))

    @property
    def readers(self) -> int:
        """How many readers drew."""
        return len(set(of_readers(self.cases)["reader"]))

    def headline_by(self, method: str) -> list[dict[str, Any]]:
        """The headline's rows by `DUNNETT` or `BOOTSTRAP`, as the tables list them."""
        return [row for row in self.headline.to_dict("records") if row["method"] == method]

    def smallest_sizes(self, method: str = DUNNETT) -> dict[str, int | None]:
        """The smallest n that is enough for each initialisation by one of the methods; None where none is."""
        return {row["init"]: None if pd.isna(row["n"]) else int(row["n"]) for row in self.headline_by(method)}
