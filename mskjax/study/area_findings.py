"""What the report of a study of muscle masks in whole scans is made of, and what its parts are called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from mskjax.measure.cutoffs import Cutoff
from mskjax.study.area_decisions import ALL, REFERENCE
from mskjax.study.area_scores import best_init, shown
from mskjax.study.plates import Plate

INITS = {"smit": "SMIT, pretrained", "random": "Random weights"}
_SEXES = {"M": "men", "F": "women"}


@dataclass(frozen=True)
class AreaFindings:
    """Scores, tables, figures and circumstances of a study; the sentences of the report are made from them.

    study: name of the study's folder.
    dataset: path of the dataset, for people.
    cases, shuffles, table_3, table_4, decisions, cutoffs, bland_altman: the frames of the files of these names.
    decided: the rows of `decisions` of the set that decides.
    rules: the cut-offs of that set and measure.
    plates: the figures at hand, in any order; absent ones are passed over.
    planned_cells: cells of the study's plan, trained or not.
    phantoms: whether the cases were drawn by a program.
    missing_inits: initialisations that the study lacks, each with the command that adds their weights.
    further_notes: more that a reader must know first, in sentences.
    provenance: nested names and values of what the study was made from.
    """

    study: str
    dataset: str
    cases: pd.DataFrame
    shuffles: pd.DataFrame
    table_3: pd.DataFrame
    table_4: pd.DataFrame
    decisions: pd.DataFrame
    cutoffs: pd.DataFrame
    bland_altman: pd.DataFrame
    decided: pd.DataFrame
    rules: Sequence[Cutoff]
    plates: Sequence[Plate]
    planned_cells: int
    phantoms: bool = False
    missing_inits: Mapping[str, str] = field(default_factory=dict)
    further_notes: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def inits(self) -> list[str]:
        """The initialisations of the cells that are done."""
        return list(dict.fromkeys(self.shuffles["init"]))

    @property
    def best(self) -> str:
        """The initialisation of the highest validation Dice."""
        return best_init(self.shuffles)

    @property
    def shown_shuffle(self) -> int:
        """The shuffle of `best` that is shown in detail."""
        return shown(self.shuffles)[self.best]

    def over_all(self, init: str) -> dict[str, Any]:
        """The last row of an initialisation in `table_3`."""
        return self.table_3.loc[self.table_3["init"] == init].iloc[-1].to_dict()

    def counts(self, init: str, against: str = REFERENCE, scope: str = ALL) -> dict[str, Any]:
        """The row of `cutoffs` of the set that decides."""
        first = self.decided.iloc[0]
        keys = {"init": init, "set": first["set"], "measure": first["measure"], "against": against, "scope": scope}
        own = self.cutoffs
        for name, value in keys.items():
            own = own.loc[own[name] == value]
        return own.iloc[0].to_dict()


def called(init: str) -> str:
    """An initialisation's name in print; its own where it has no other."""
    return INITS.get(init, init)


def cutoff_words(rules: Sequence[Cutoff]) -> str:
    """The cut-offs of one set and measure in words, with cm2 for square centimetres: SMA < 144 cm2 in men, ..."""
    each = [f"< {rule.below:g} {rule.units} in {_SEXES[rule.sex]}{_bmi(rule)}" for rule in rules]
    return f"{rules[0].measure.upper()} {', '.join(each)}"


def typeset(text: str) -> str:
    """Text with raised numbers in its units."""
    return text.replace("cm2", "cm²").replace("/m2", "/m²")


def _bmi(rule: Cutoff) -> str:
    from_, below = rule.bmi_from, rule.bmi_below
    words = [f"from {from_:g}"] if from_ is not None else []
    words += [f"below {below:g}"] if below is not None else []
    return f" of BMI {' and '.join(words)}" if words else ""
