"""Scoring a run on held-out cases of its dataset."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from absl import logging
from jaxtyping import Bool, Integer
from PIL import Image

from mskjax.data.dataset import Dataset, Slices, read_dataset, require_hu, require_masks
from mskjax.data.volume_folder import Volumes, read_volumes
from mskjax.files import require_folder
from mskjax.study import evaluation_folder, report
from mskjax.study.overlays import draw_slice
from mskjax.study.prediction import Predictor, VolumePredictor, load_predictor, predict_mask, progress, thresholded
from mskjax.study.summary import CASE_COLUMNS, score, summarise
from mskjax.training import origin

Masks = list[Bool[np.ndarray, "_ _"]]  # slices of a dataset differ in size


def evaluate(
    workdir: str | Path,
    split: str = "test",
    output: str | Path | None = None,
    dataset: str | Path | None = None,
    predictor: Predictor | VolumePredictor | None = None,
) -> Path:
    """Evaluates the best weights of the run `workdir` on a split of its dataset; the folder with the results.

    `output` is workdir/evaluation unless given; `dataset` is for one that has moved, or, with an `output`, for another
    one; `predictor` takes the place of the run's own. A run that has learned volumes sees whole scans, of whose slices
    the scored ones are judged. What is up to date is left as it is. Raises `OSError` where the run or the dataset is
    missing and `ValueError` where the split has no cases, some have no mask or no HU, or volumes are asked of slices.
    """
    workdir, source, output, made_from, own = evaluation_folder.place(workdir, split, output, dataset)
    if evaluation_folder.is_current(output, made_from):
        logging.info("%s is up to date; delete this folder to evaluate again", output)
        return output
    require_folder(output)
    data = read_dataset(source)
    rows = data.rows(split)
    if not len(rows):
        raise ValueError(f"{source} has no {split} cases; it counts {data.manifest['counts']}")
    require_hu(data, f"the evaluation of {workdir}")
    require_masks(data.select(rows), f"the evaluation of {workdir}")
    slices = data.slices.select(rows)
    predictor = predictor or load_predictor(workdir)
    if isinstance(predictor, VolumePredictor):
        masks = _predict_volumes(predictor, read_volumes(source), rows)
    else:
        masks = _predict(predictor, slices)
    cases = _score(slices, data.cases.iloc[rows], masks)
    notes = _notes(workdir, data, rows, cases, own)
    findings = _findings(workdir, source, slices, masks, cases, notes, made_from)
    evaluation_folder.write(output, cases, findings, made_from)
    return output


def _predict(predictor: Predictor, slices: Slices) -> Masks:
    """The mask of each case at its true size."""
    masks = []
    for i in progress(range(len(slices)), "case"):
        image_hu, _, spacing_mm = slices.case(i)
        masks.append(predict_mask(predictor, image_hu, spacing_mm))
    return masks


def _predict_volumes(predictor: VolumePredictor, volumes: Volumes, rows: Integer[np.ndarray, " n"]) -> Masks:
    """The mask of each case's scored slice, seen in the whole scan; `ValueError` for volumes of another spacing."""
    if volumes.spacing_mm != predictor.spacing_mm:
        raise ValueError(
            f"the volumes of {volumes.folder} have voxels of {volumes.spacing_mm} mm and the run has learned with "
            f"{predictor.spacing_mm} mm (i, j, k); prepare a dataset with the run's --spacing_mm"
        )
    masks = []
    for n in progress(range(len(rows)), "case"):
        row = int(rows[n])
        k = int(volumes.cases["slice_index"].iat[row])
        scan = volumes.verified_image(row), volumes.grid(row), volumes.box(row)
        masks.append(thresholded(predictor.of_volume(*scan, range(k, k + 1))[0]))
    return masks


def _score(slices: Slices, known: pd.DataFrame, masks: Masks) -> pd.DataFrame:
    """The rows of cases.csv, in the dataset's order."""
    scores = []
    for i, mask in enumerate(masks):
        image_hu, reference, spacing_mm = slices.case(i)
        scores.append(score(image_hu, mask, reference, spacing_mm))
    return known.reset_index(drop=True).join(pd.DataFrame(scores)).reindex(columns=list(CASE_COLUMNS))


def _findings(
    workdir: Path,
    source: Path,
    slices: Slices,
    masks: Masks,
    cases: pd.DataFrame,
    notes: list[str],
    made_from: dict[str, Any],
) -> report.Findings:
    worst_first = cases.sort_values(["dice", "rms_dta_cm"], ascending=[True, False], kind="stable")
    curves = workdir / "loss_curves.png"
    return report.Findings(
        run=workdir.resolve().name,
        dataset=str(source),
        cases=worst_first,
        summary=summarise(cases),
        pictures=[_picture(slices, masks, i, case) for i, case in worst_first.to_dict("index").items()],
        notes=notes,
        loss_curves=curves.read_bytes() if curves.is_file() else None,
        provenance={"evaluation": {"dataset": str(source), **made_from}, "run": origin.provenance_of(workdir)},
    )


def _picture(slices: Slices, masks: Masks, i: Any, case: dict[str, Any]) -> Image.Image:
    image_hu, reference, spacing_mm = slices.case(i)
    dice, distance = report.number(case["dice"], 3), report.number(case["rms_dta_cm"], 2)
    area, expected = report.number(case["sma_cm2"], 1), report.number(case["reference_sma_cm2"], 1)
    scores = f"Dice {dice}   RMS-DTA {distance} cm   SMA {area} cm² (reference {expected})"
    outlines = {"reference": reference, "prediction": masks[i]}
    return draw_slice(image_hu, spacing_mm, outlines, [case["case_id"], scores])


def _notes(workdir: Path, data: Dataset, rows: np.ndarray, cases: pd.DataFrame, own_dataset: bool) -> list[str]:
    """What a reader must know before trusting the figures, in sentences."""
    patients = data.cases["patient_id"].to_numpy(str)
    own, others = patients[rows], set(np.delete(patients, rows))
    known, people = sum(patient in others for patient in own), len(set(own))
    missed = int(np.isinf(cases["rms_dta_cm"].to_numpy(float)).sum())
    notes = {
        "The cases are phantoms, drawn by a program; these scores say nothing about patients.": origin.are_phantoms(
            data.cases["image"].iloc[rows].astype(str)
        ),
        "This is not the dataset that the run was trained on; whether the run has seen these patients before, its "
        "splits do not tell.": not own_dataset,
        f"{known} of {len(rows)} cases show patients who are in another split too; these scores say little about new "
        "patients.": known > 0,
        f"The {len(rows)} cases come from {people} patient{'s' * (people > 1)}. Slices of one patient are alike, so "
        "the standard errors, which take them as independent, are too small.": people < len(rows),
        f"In {missed} of {len(rows)} cases one of the two masks is empty; their infinite RMS-DTA is left out of the "
        "mean.": missed > 0,
        "The run has not finished; these are its best weights so far.": not (workdir / "DONE").is_file(),
    }
    return [sentence for sentence, applies in notes.items() if applies]
