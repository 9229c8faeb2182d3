"""What the report of a classification study is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from mskjax.study.plates import Plate
from mskjax.study.sarcopenia_scores import Pair, best_pairs, pairs

NETWORKS = {
    "inception_v3": "InceptionV3",
    "densenet121": "DenseNet121",
    "keras_resnet50": "ResNet50",
    "inception_resnet_v2": "InceptionResNetV2",
}


@dataclass(frozen=True)
class SarcopeniaFindings:
    """Scores, tables, figures and circumstances of a study; the sentences of the report are made from them.

    study: name of the study's folder.
    dataset: path of the dataset, for people.
    cases, shuffles, table_1, table_2, by_sex, confusion, calibration: the frames of the files of these names.
    plates: the figures at hand, in any order; absent ones are passed over.
    planned_cells: cells of the study's plan, trained or not.
    phantoms: whether the cases were drawn by a program.
    missing_networks: networks that the study lacks, each with the command that gets its weights.
    explanations: pictures of Grad-CAM and LIME, by their cell.
    explain_command: the command that makes them; empty where the study has kept no weights.
    shown_cell: the cell that is shown in detail, which the command explains.
    further_notes: more that a reader must know first, in sentences.
    provenance: nested names and values of what the study was made from.
    """

    study: str
    dataset: str
    cases: pd.DataFrame
    shuffles: pd.DataFrame
    table_1: pd.DataFrame
    table_2: pd.DataFrame
    by_sex: pd.DataFrame
    confusion: pd.DataFrame
    calibration: pd.DataFrame
    plates: Sequence[Plate]
    planned_cells: int
    phantoms: bool = False
    missing_networks: Mapping[str, str] = field(default_factory=dict)
    explanations: Mapping[str, Sequence[Path]] = field(default_factory=dict)
    explain_command: str = ""
    shown_cell: str = ""
    further_notes: Sequence[str] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def best(self) -> Pair:
        """The network and policy of the highest mean validation AUC."""
        return best_pairs(self.shuffles)[0]

    def row(self, table: str, pair: Pair) -> dict[str, Any]:
        """The row of a network and policy in `table_1` or `table_2`."""
        return dict(pairs(getattr(self, table)))[pair].to_dict("records")[0]


def called(network: str) -> str:
    """A network's name in print; its own where it has no other."""
    return NETWORKS.get(network, network)
