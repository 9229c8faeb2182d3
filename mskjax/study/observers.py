"""The observer study: what human readers reach on the test cases, by which networks are judged (study A, 2.4).

Readers' masks are scored against the expert's as predictions are, with one difference: bone is removed from predictions
only (study A, 2.3), so that area and density of readers are those of the masks as drawn, as the expert's are. Phantoms
bring simulated readers, who come through the same table and files as real ones.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from absl import logging
from jaxtyping import Bool, Float, Int16, Shaped
from tqdm import tqdm

from mskjax import measure
from mskjax.data.dataset import Dataset
from mskjax.data.reader_masks import read_masks
from mskjax.data.reader_table import Reading, read_readings
from mskjax.data.splits import counted
from mskjax.study.case_scores import COLUMNS, INITS, OBSERVERS, checked
from mskjax.study.summary import score, statistics_of, with_differences

METRICS = {"dice": "", "rms_dta_cm": "cm", "smd_difference_hu": "HU", "sma_difference_cm2": "cm2"}
_MOST_NAMED = 10
# No trained reader comes near it: below, the mask is probably of another case, label or side.
_STRANGE_DICE = 0.5


def default_observers(dataset: str | Path) -> Path | None:
    """The table of the simulated readers in a dataset folder of phantoms; None where there is none."""
    table = Path(dataset) / "phantoms" / "readers.csv"
    return table if table.is_file() else None


def read_observers(
    table: str | Path, dataset: Dataset, cases: Collection[str] | None = None
) -> Iterator[tuple[str, str, Bool[np.ndarray, "rows columns"]]]:
    """Case id, reader and mask at the case's true size for each row of the CSV `table`, or for those of `cases` alone.

    The table is checked at once, see `mskjax.data.reader_table`; masks are read one by one as they are asked for, see
    `mskjax.data.reader_masks`. Raises `ValueError` also where a reader has the name of an initialisation.
    """
    readings = _readings(table, dataset)
    chosen = [reading for reading in readings if cases is None or reading.case_id in cases]
    return ((reading.case_id, reading.reader, mask) for reading, mask in read_masks(chosen, dataset, table))


def score_observers(table: str | Path, dataset: Dataset) -> pd.DataFrame:
    """The scores of all masks in the CSV `table` in the columns of a study's cases.csv, in the dataset's order.

    A progress bar runs on a terminal. What a judge of the scores must know is logged (`answer`,
    `cautions`). Errors are those of `read_observers`.
    """
    readings = _readings(table, dataset)
    order = {case_id: i for i, case_id in enumerate(dataset.cases["case_id"])}
    drawn = read_masks(readings, dataset, table)
    rows = []
    for reading, mask in tqdm(drawn, desc="readers", unit="mask", total=len(readings), disable=None):
        scores = _score(*dataset.slices.case(order[reading.case_id]), mask)
        rows.append({"init": OBSERVERS, "case_id": reading.case_id, "reader": reading.reader, **scores})
    rows.sort(key=lambda row: order[row["case_id"]])
    found = checked(pd.DataFrame(rows).reindex(columns=list(COLUMNS)), table)
    logging.info("%s: %s", table, answer(found))
    for caution in cautions(found, dataset.cases["case_id"].iloc[dataset.rows("test")].tolist()):
        logging.warning("%s: %s", table, caution)
    return found


def summarise_observers(scores: pd.DataFrame) -> pd.DataFrame:
    """A row for each of `METRICS`: its mean over all readings, and what that rests on; differences are reader - expert.

    Values that are not finite, of empty masks, are left out of a metric's figures and counted as `non_finite`.
    `standard_error` takes readings as independent, as study A does; `standard_error_of_cases` is that of the cases'
    means. `cases_with_fewer_readers` have fewer than most cases have.
    """
    full, readers = with_differences(scores), _readers_of_cases(scores)
    cases = scores["case_id"].to_numpy(str)
    counts = {
        "readings": len(scores),
        "readers": len(set(scores["reader"])),
        "cases": len(readers),
        "cases_with_fewer_readers": sum(n < _usual(readers) for n in readers.values()),
    }
    rows = [
        {"metric": name, "unit": unit, **_spread(full[name].to_numpy(float), cases), **counts}
        for name, unit in METRICS.items()
    ]
    return pd.DataFrame(rows)


def answer(scores: pd.DataFrame) -> str:
    """The observer study in a sentence: who drew what, and mean and standard error of each metric."""
    rows = summarise_observers(scores).to_dict("records")
    said = []
    for called, row in zip(("DSC", "RMS-DTA", "SMD difference", "SMA difference"), rows, strict=True):
        left_out = f" without {row['non_finite']} that are not finite" if row["non_finite"] else ""
        said.append(f"{called} {row['mean']:.3f} ± {row['standard_error']:.3f} {row['unit']}".rstrip() + left_out)
    counts = [(rows[0][name], noun) for name, noun in (("readings", "mask"), ("cases", "case"), ("readers", "reader"))]
    masks, cases, readers = (counted(*count) for count in counts)
    about = "mean ± standard error; differences are reader minus expert; bone is removed from predictions only"
    return f"{masks} of {cases} by {readers}: {', '.join(said)} ({about})"


def cautions(scores: pd.DataFrame, test_cases: Sequence[str]) -> list[str]:
    """What may make the readers' scores misleading, in sentences; `test_cases` are those that they were to draw."""
    readers = _readers_of_cases(scores)
    usual = _usual(readers)
    undrawn = [case_id for case_id in test_cases if case_id not in readers]
    fewer = [case_id for case_id, n in readers.items() if n < usual]
    dice, drawn = scores["dice"].to_numpy(float), scores["sma_cm2"].to_numpy(float) > 0
    who = np.array(
        [f"{case_id} by {reader}" for case_id, reader in zip(scores["case_id"], scores["reader"], strict=True)]
    )
    empty, alike, strange = (
        who[chosen].tolist() for chosen in (~drawn, drawn & (dice == 1), drawn & (dice < _STRANGE_DICE))
    )
    said = {
        f"no reader drew {len(undrawn)} of {len(test_cases)} test cases: {_some(undrawn)}": undrawn,
        f"fewer than {usual} readers drew {counted(len(fewer), 'case')}: {_some(fewer)}": fewer,
        f"{counted(len(empty), 'mask')} of readers without a pixel on the case's slice, which counts as Dice 0, "
        f"infinite RMS-DTA and no density: {_some(empty)}": empty,
        f"{counted(len(alike), 'mask')} of readers with exactly the expert's pixels; see that no file of the expert is "
        f"listed as a reader's: {_some(alike)}": alike,
        f"{counted(len(strange), 'mask')} of readers with Dice below {_STRANGE_DICE}; see that case, file and label "
        f"belong together: {_some(strange)}": strange,
    }
    return [sentence for sentence, applies in said.items() if applies]


def _readings(table: str | Path, dataset: Dataset) -> list[Reading]:
    readings = read_readings(table, dataset)
    if named := [r for r in readings if r.reader.casefold() in (*INITS, OBSERVERS)]:
        raise ValueError(
            f"{table}, line {named[0].line}: a reader is called {named[0].reader!r}, as the study calls "
            f"{'all readers' if named[0].reader.casefold() == OBSERVERS else 'an initialisation'}; choose another name"
        )
    return readings


def _score(
    image_hu: Int16[np.ndarray, "h w"],
    reference: Shaped[np.ndarray, "h w"],
    spacing_mm: Float[np.ndarray, "2"],
    mask: Bool[np.ndarray, "h w"],
) -> dict[str, Any]:
    """The scores of a reader's mask, from which bone is not removed."""
    as_drawn = {
        "sma_cm2": measure.muscle_area_cm2(mask, spacing_mm),
        "smd_hu": measure.muscle_density_hu(image_hu, mask),
    }
    return score(image_hu, mask, reference, spacing_mm) | as_drawn


def _readers_of_cases(scores: pd.DataFrame) -> Counter[str]:
    """How many readers drew each case that was drawn at all."""
    return Counter(scores["case_id"])


def _usual(readers: Counter[str]) -> int:
    """How many readers most cases have, and the larger number where two are as common."""
    return max((times, n) for n, times in Counter(readers.values()).items())[1]


def _spread(values: Float[np.ndarray, "n"], cases: Shaped[np.ndarray, "n"]) -> dict[str, float]:
    """Mean, sd and standard errors of the finite values, and the number of the others."""
    finite = np.isfinite(values)
    means = np.array([values[finite & (cases == case)].mean() for case in np.unique(cases[finite])])
    found = statistics_of(values)
    return {
        "mean": found.mean,
        "standard_error": found.standard_error,
        "sd": found.sd,
        "standard_error_of_cases": statistics_of(means).standard_error,
        "non_finite": found.non_finite,
    }


def _some(names: Sequence[str]) -> str:
    """The first of `names`, and how many more there are."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
