"""The scores of a classification study: a row a case and cell, a row a cell, and who is chosen by validation.

Everything is chosen on a cell's validation cases: its threshold by Youden, the policy of a network by the mean
validation AUC, and the shuffle that is shown in detail by the best validation AUC. The test cases choose nothing.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mskjax.data.dataset import Dataset
from mskjax.measure import diagnosis
from mskjax.study.diagnosis_summary import MEASURES, diagnose
from mskjax.study.probability_judge import SCORES, read_probabilities
from mskjax.study.sarcopenia import Cell
from mskjax.study.shuffles import gather as gather_patients

PAIR = ["network", "policy"]
CELL = [*PAIR, "shuffle"]
COUNTS = {"tn": "true_negative", "fp": "false_positive", "fn": "false_negative", "tp": "true_positive"}
SCORED = (*CELL, "case_id", "patient_id", "sex", "split", "label", "probability")

Pair = tuple[str, str]


def gather(workdir: Path, cells: Sequence[Cell], data: Dataset) -> pd.DataFrame:
    """The validation and test rows of all `cells`, which are done, in the columns `SCORED`.

    Raises `ValueError` where no cell is done, and where scores are of other cases or labels than their cell's.
    """
    if not cells:
        raise ValueError(f"no cell of {workdir} is done; train them with launch.sweep")
    about = data.cases.assign(case_id=data.cases["case_id"].astype(str)).set_index("case_id")
    sex = gather_patients(data.cases).sex
    parts = []
    for cell in cells:
        folder = workdir / "cells" / cell.name
        rows = read_probabilities(folder)
        planned = [(case, split) for split in ("validation", "test") for case in getattr(cell, f"{split}_cases")]
        own = list(zip(rows["case_id"], rows["split"], strict=True))
        if own != planned or list(about.loc[rows["case_id"], "sarcopenia"]) != list(rows["label"]):
            raise ValueError(
                f"{folder / SCORES} is of other cases or labels than its cell's; delete {folder} and train it again"
            )
        patients = about.loc[rows["case_id"], "patient_id"].astype(str).to_numpy()
        own = {"patient_id": patients, "sex": [sex[patient] for patient in patients]}
        parts.append(rows.assign(**{name: getattr(cell, name) for name in CELL}, **own))
    return pd.concat(parts, ignore_index=True).reindex(columns=list(SCORED))


def measure(scores: pd.DataFrame, samples: int, bins: int) -> pd.DataFrame:
    """The rows of shuffles.csv, a cell each, in the order of `scores`.

    What is not defined is NaN, and the column `undefined` says which and why.
    """
    return pd.DataFrame([_measured(rows, samples, bins) for _, rows in scores.groupby(CELL, sort=False)])


def decided(scores: pd.DataFrame, shuffles: pd.DataFrame) -> pd.DataFrame:
    """The rows of cases.csv: `scores` with the threshold of their cell and the decision, 1 from the threshold on."""
    cases = scores.merge(shuffles[[*CELL, "threshold"]], on=CELL, how="left", validate="many_to_one")
    return cases.assign(decision=(cases["probability"] >= cases["threshold"]).astype(int))


def pairs(table: pd.DataFrame) -> Iterator[tuple[Pair, pd.DataFrame]]:
    """Each network and policy of a table with its rows, in the table's order."""
    for _, rows in table.groupby(PAIR, sort=False):
        yield (str(rows["network"].iloc[0]), str(rows["policy"].iloc[0])), rows


def best_pairs(shuffles: pd.DataFrame) -> list[Pair]:
    """Each network's policy of the highest mean validation AUC, the networks in the order of that."""
    order = [pair for pair, _ in sorted(pairs(shuffles), key=lambda entry: _rank(entry[1]))]
    return [pair for i, pair in enumerate(order) if pair[0] not in {network for network, _ in order[:i]}]


def shown_shuffle(rows: pd.DataFrame) -> int:
    """Of one network's and policy's cells the shuffle of the best validation AUC, then of the lower Brier score."""
    ordered = sorted(
        zip(*(rows[name] for name in ("validation_auc", "validation_brier", "shuffle")), strict=True),
        key=lambda cell: (_descending(cell[0]), *cell[1:]),
    )
    return int(ordered[0][2])


def counts_of(rows: pd.DataFrame) -> diagnosis.Confusion:
    """The counts of some rows of shuffles.csv together."""
    return diagnosis.Confusion(**{field: int(rows[name].to_numpy(int).sum()) for name, field in COUNTS.items()})


def shares_of(counts: diagnosis.Confusion) -> dict[str, float]:
    """Accuracy, precision, recall, specificity and F1 of counts; NaN where they are not defined."""
    return {name: getattr(diagnosis, name)(counts) for name in MEASURES}


def _measured(rows: pd.DataFrame, samples: int, bins: int) -> dict[str, Any]:
    (label, probability, _), test = (_arrays(rows, split) for split in ("validation", "test"))
    chosen = diagnosis.youden_threshold(label, probability)
    found = diagnose(*test, chosen.value, samples)
    reasons: dict[str, list[str]] = {}
    for name, why in found.reasons.items():
        reasons.setdefault(why, []).append(name)
    undefined = [f"{', '.join(names)}: {why}" for why, names in reasons.items()]
    undefined += [f"interval of auc: {found.interval.reason}"] if found.interval.reason else []
    calibrated = diagnosis.calibration(*test[:2], bins)
    return {
        **{name: rows[name].iloc[0] for name in CELL},
        "validation_cases": len(label),
        "validation_sarcopenic": int(label.sum()),
        "test_cases": found.cases,
        "test_sarcopenic": found.counts.positive,
        "auc": found.auc,
        "auc_low": found.interval.low,
        "auc_high": found.interval.high,
        "validation_auc": diagnosis.auc(label, probability),
        "validation_brier": diagnosis.brier(label, probability),
        "threshold": chosen.value,
        "validation_youden": chosen.youden,
        "threshold_reason": chosen.reason,
        **found.measures,
        "brier": found.brier,
        "calibration_error": diagnosis.expected_calibration_error(calibrated),
        **{name: getattr(found.counts, field) for name, field in COUNTS.items()},
        "undefined": "; ".join(undefined),
    }


def _arrays(rows: pd.DataFrame, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    own = rows.loc[rows["split"] == split]
    return own["label"].to_numpy(int), own["probability"].to_numpy(float), own["patient_id"].to_numpy(object)


def _rank(rows: pd.DataFrame) -> tuple[float, float]:
    auc, brier = (float(rows[f"validation_{name}"].to_numpy(float).mean()) for name in ("auc", "brier"))
    return _descending(auc), brier


def _descending(value: float) -> float:
    """A key that sorts high values first and NaN last."""
    return np.inf if np.isnan(value) else -float(value)
