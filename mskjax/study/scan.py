"""Measuring one scan, in the mask that a run predicts or in a finished one."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import logging
from jaxtyping import Bool, Float, Int16

from mskjax.data import read_image, read_mask
from mskjax.data.dicom import read_series
from mskjax.data.orientation import require_untilted, tilt_degrees, to_axial
from mskjax.data.volumes import is_volume
from mskjax.export.artifact import Artifact, load
from mskjax.study import scan_folder
from mskjax.study.measurement import Measurement, Options, measure_slices
from mskjax.study.prediction import Predictor, VolumePredictor, load_predictor, predict_mask, progress, thresholded
from mskjax.training import origin


def measure_scan(
    image: str | Path,
    output: str | Path,
    run: str | Path | None = None,
    mask: str | Path | Sequence[str | Path] | None = None,
    series: str | None = None,
    label: int | str | Sequence[int | str] | None = None,
    slices: str | None = None,
    height_m: float | None = None,
    hu_window: str | None = None,
    remove_bone: bool | None = None,
    predictor: Predictor | VolumePredictor | None = None,
    level: int | None = None,
    sex: str | None = None,
    weight_kg: float | None = None,
    artifact: str | Path | None = None,
) -> Measurement:
    """Measures the scan `image` in a mask that `run` or `artifact` predicts, or that is given; writes to `output`.

    `slices` is "K" or "A:B" (from A up to but not B), counted from 0 at the feet, and all slices where it is None;
    `label` says which of a given mask's labels; `hu_window` is "A:B" in HU, both included. Bone is cut out of
    predictions and left in given masks unless `remove_bone` says otherwise. `predictor` takes the place of the run's
    own; `artifact` is a program of launch.export, for which bone is looked for in 2-D. Published cut-offs decide on the
    slice `level`, or on one measured alone, which should be L3, by `sex` ("M" or "F"), height and weight. Raises
    `ValueError` or `OSError` where the input does not fit, or a file would be replaced that was given or edited, and
    then writes nothing.
    """
    if sum(given is not None for given in (run, mask, artifact)) != 1:
        raise ValueError(
            "give either a run or an artifact, which predicts the mask, or a finished mask; one of the three"
        )
    if mask is None and label is not None:
        maker = "a run" if artifact is None else "an artifact"
        raise ValueError(
            f"label {label!r} picks a part of a given mask, and {maker} makes its own; leave one of them out"
        )
    window = None if hu_window is None else parse_window(hu_window)
    labels = None if label is None else tuple([label] if isinstance(label, int | str) else label)
    cut_out = mask is None if remove_bone is None else remove_bone
    options = Options(cut_out, window, height_m, labels, slices, level, sex, weight_kg)
    drawn = [mask] if isinstance(mask, str | Path) else mask or []
    scan_folder.check(Path(output), [image, *drawn])
    scan = read_image(image, series)
    image_hu, spacing_mm = to_axial(scan)
    chosen = parse_slices(slices, len(image_hu))
    level = options.level_in(chosen)
    program = None if artifact is None else load(artifact)
    if mask is not None:
        muscle = to_axial(read_mask(mask, scan, label))[0] > 0
    else:
        predictor = predictor or program or load_predictor(str(run), shows_windows=True)
        _warn_of_phantoms(run, program)
        if isinstance(predictor, VolumePredictor):
            require_untilted(scan, "a run that has learned volumes")
        muscle = _predict(predictor, image_hu, spacing_mm, chosen, level)
    volumetric = len(image_hu) > 1 and not tilt_degrees(scan) and artifact is None
    by_volumes = mask is None and isinstance(predictor, VolumePredictor)
    measurement = measure_slices(image_hu, muscle, spacing_mm, chosen, options, volumetric, by_volumes)
    sources = [] if is_volume(Path(image)) else read_series(image, series)
    scan_folder.write(Path(output), scan, measurement, sources, run, program and program.about)
    return measurement


def parse_slices(text: str | None, depth: int) -> range:
    """The slices that "K" or "A:B" means, from A up to but not B, and all `depth` slices for None.

    Raises `ValueError` where the text is neither, is empty as a range, or reaches beyond the scan.
    """
    if text is None:
        return range(depth)
    found = re.fullmatch(r"(-?\d+)(?::(-?\d+))?", text.strip())
    if not found:
        raise ValueError(f"slice {text!r} is neither a number nor a range such as 10:13, which is slices 10, 11 and 12")
    first = int(found[1])
    stop = first + 1 if found[2] is None else int(found[2])
    if first >= stop:
        raise ValueError(f"the slices {text} are none; 10:13 means slices 10, 11 and 12")
    if not 0 <= first < stop <= depth:
        raise ValueError(f"slice {text} is not in the scan, whose slices are 0 (feet) to {depth - 1} (head)")
    return range(first, stop)


def parse_labels(texts: Sequence[str] | None) -> list[str] | None:
    """The labels of texts such as "86,87" and "psoas", all in one list; a name with a comma stands in double quotes."""
    if texts is None:
        return None
    return [label.strip() for row in csv.reader(texts, skipinitialspace=True) for label in row]


def parse_window(text: str) -> tuple[float, float]:
    """The lowest and highest HU of "A:B"; `ValueError` for any other text."""
    try:
        low, high = map(float, text.split(":"))
    except ValueError:
        raise ValueError(f"HU window {text!r} is no pair of numbers such as -29:150") from None
    return low, high


def _warn_of_phantoms(run: str | Path | None, program: Artifact | None) -> None:
    learned = program.about.get("learned_from_phantoms_only") if program else origin.learned_from_phantoms(str(run))
    if learned:
        told = "%s has learned from phantoms only; its figures for a patient's scan mean nothing"
        logging.warning(told, program.path if program else run)


def _predict(
    predictor: Predictor | VolumePredictor,
    image_hu: Int16[np.ndarray, "d h w"],
    spacing_mm: Float[np.ndarray, "3"],
    chosen: range,
    level: int | None,
) -> Bool[np.ndarray, "d h w"]:
    if isinstance(predictor, VolumePredictor):
        return thresholded(predictor(image_hu, spacing_mm, chosen, level))
    muscle = np.zeros(image_hu.shape, bool)
    for k in progress(chosen, "slice"):
        muscle[k] = predict_mask(predictor, image_hu[k], spacing_mm[1:])
    return muscle
