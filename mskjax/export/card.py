"""The model card beside an export: what it is, how it was verified, where it comes from, and what it is not for."""

import json
import math
from collections.abc import Mapping
from typing import Any

import jax

from mskjax.data.dataset import AIR_HU
from mskjax.export import descent, interfaces, limits
from mskjax.export.descent import UNKNOWN
from mskjax.export.source import SEGMENTATION, Source
from mskjax.measure import bone
from mskjax.tasks.intensity import IMAGENET_MEAN, IMAGENET_STD

Lines = list[str]
About = Mapping[str, Any]
MASK = (
    "the logits' sigmoid is the probability of muscle, to be resampled to the slice's own pixels; above 0.5 is muscle",
    f"what lies above {bone.BONE_ABOVE_HU} HU, or within {bone.MARGIN_MM:g} mm of that, is cut out: in a single slice "
    "looked for in 2-D, in a straight stack of slices in 3-D",
)
TRAINING_TERMS = (
    "Losses are the task's own on the validation cases; `best_step` is the update after which theirs was lowest, and "
    "these are the weights of then."
)
TERMS = (
    "`dice`: overlap of the masks, 0 to 1. `rms_dta_cm`: root mean square distance from the predicted boundary to the "
    "expert's; `symmetric`: from each to the other. `sma`: muscle area, and `smd`: mean HU in it, bone cut out of the "
    "prediction; `reference`: of the expert's mask. `difference`: prediction minus expert, in percent of the expert's. "
    "`non_finite`: cases without a number, as where no muscle was found."
)
KINDS = {
    "safetensors": "The weights of a network, under the names of the PyTorch network that it equals",
    "stablehlo": "A whole measurement with its weights, as one StableHLO program (jax.export) for CPU, CUDA and TPU",
    "onnx": "A whole measurement with its weights, as one ONNX file",
}


def text(name: str, source: Source, about: About) -> str:
    """The card of the file `name`, in Markdown."""
    sections = {
        "What it is": _what(name, source, about),
        "Inputs and outputs": interfaces.lines(name, source, about),
        "Preprocessing": _preprocessing(source, about),
        "Verification": [f"As it was written: {verified(about)}.", "", _sample(about)],
        "Training data": _training_data(source, about),
        "Metrics": _metrics(source),
        "Provenance": _provenance(source, about),
        "Limits of use": [f"- {limit}" for limit in limits.sentences(source, about)],
        "Licence": _licence(about),
    }
    parts = [f"# {name}", *("\n".join([f"## {title}", "", *lines]) for title, lines in sections.items())]
    return "\n\n".join(parts) + "\n"


def verified(about: About) -> str:
    """How an export was verified and what came out, in one phrase."""
    found = about["verification"]
    if about["format"] == "safetensors":
        return f"{found['tensors']} tensors, read back bit for bit as the run has them"
    rows, columns = found["shape"]
    differ = found["mask_differs"]
    return (
        f"on {found['slices']} slice{'s' * (found['slices'] != 1)} of {rows}x{columns} pixels the logits are within "
        f"{found['logit_error']:.2g} of the run's, which reach {found['largest_logit']:.3g}; of {found['pixels']} "
        f"pixels {found['near_half']} have a logit within 0.0001 of 0, and the mask differs in "
        f"{f'{differ} of these' if differ else 'none'}; areas are within {found['area_error_cm2']:.2g} cm2"
        f"{_rounding(found)}"
    )


def _rounding(found: Mapping[str, Any]) -> str:
    if "run_mask_differs" not in found:
        return ""
    return (
        ". The run was computed in float32 for this; as launch.measure computes it here, its mask differs in "
        f"{found['run_mask_differs']} pixels, and its areas by up to {found['run_area_error_cm2']:.2g} cm2"
    )


def _what(name: str, source: Source, about: About) -> Lines:
    options = json.dumps(source.config["task"]["model"], sort_keys=True)
    rows = {
        "file": f"`{name}`, SHA-256 `{about['sha256']}`",
        "task": source.task,
        "network": f"{source.model}, as `{options}`",
        "numbers": _numbers(source, about),
    }
    return [f"{KINDS[about['format']]}. Exported from the run `{about['folder']}` of mskjax.", "", *_table(rows)]


def _numbers(source: Source, about: About) -> str:
    if about["format"] == "safetensors":
        return "float32"
    told = "float32; HU are fitted and areas taken in float64"
    dtype = source.config["task"]["model"].get("dtype", "float32")
    return told if dtype == "float32" else f"{told}. The run itself computes in {dtype}, and differs by that rounding"


def _preprocessing(source: Source, about: About) -> Lines:
    task, side = source.config["task"], source.config["image_size"]
    steps = [f"as the run has learned it, on {side} pixels a side: {_fitting(source)}"]
    if "window_hu" in task:
        steps.append(f"HU from {_edge(task, -1):g} to {_edge(task, 1):g} become 0 to 1; what lies outside is clipped")
    if "preprocessing" in task:
        steps.append(f"resized to {task.get('resize', 224)} pixels; then the convention `{task['preprocessing']}`")
    elif not source.task.startswith(("volume", "self")):
        steps.append(f"three channels alike, less ImageNet's means {IMAGENET_MEAN}, over its deviations {IMAGENET_STD}")
    if about["format"] != "safetensors":
        told = "All of it is inside the file."
    else:
        told = "None of it is in the file, which holds the weights alone, nor what makes a mask of logits."
        steps += MASK if source.task == SEGMENTATION else ()
    return [told, "", *(f"- {step}" for step in steps)]


def _fitting(source: Source) -> str:
    if source.task.startswith(("volume", "self")):
        return "crops of whole scans on the dataset's spacing, along the axes of RAS"
    side = source.config["image_size"]
    return (
        f"each slice is resampled bilinearly to {side}x{side} square pixels, its longer side in mm over {side} each, "
        f"with the same centre, {AIR_HU} HU around it and HU rounded to whole numbers; where the slice shrinks, by "
        "triangles as wide as a step. Of a square slice with square pixels PyTorch's `interpolate(..., mode="
        "'bilinear', antialias=True)` makes the same, but for halves of a HU"
    )


def _edge(task: Mapping[str, Any], sign: int) -> float:
    return task["level_hu"] + sign * task["window_hu"] / 2


def _sample(about: About) -> str:
    names = about["verification"]["sample"]
    told = ", ".join(f"{names.count(name)} x {name}" for name in dict.fromkeys(names))
    whole = len(set(names)) == 1 or about["learned_from_phantoms_only"]
    kept = "It is stored" if whole else "What shows no patient is stored"
    return f"The sample: {told}. {kept} beside the file (`.sample.npz`), with what came out."


def _training_data(source: Source, about: About) -> Lines:
    counts = (source.provenance.get("dataset") or {}).get("counts")
    if counts is None and source.dataset:
        counts = source.dataset.manifest.get("counts")
    digests = about["dataset_sha256"] or {}
    drawn = {True: "yes", False: "no", None: UNKNOWN}
    rows = {
        "dataset": ", ".join(f"`{name}` SHA-256 `{digest}`" for name, digest in digests.items()) or UNKNOWN,
        "counts": ", ".join(f"{count} {name}" for name, count in (counts or {}).items()) or UNKNOWN,
        **_cell(source),
        "drawn phantoms only": drawn[about["learned_from_phantoms_only"]],
        "people, scanners, protocols, readers": UNKNOWN,
    }
    return _table(rows)


def _cell(source: Source) -> dict[str, str]:
    """Of which cases the cell of a study has made use, as it leaves out others of its dataset."""
    cell = source.config.get("cell")
    if cell is None:
        return {}
    validated = len(cell["validation_cases"])
    told = f"{len(cell['train_cases'])} of these cases; the weights were chosen by the loss on {validated} others"
    return {"learned from, as a cell of a study": told}


def _metrics(source: Source) -> Lines:
    lines = _table({name: _number(value) for name, value in descent.training_scores(source).items()})
    lines += ["", TRAINING_TERMS]
    evaluation, scores = descent.evaluation(source), descent.cell_scores(source)
    if evaluation is None and scores:
        told = ", ".join(f"{name} {_number(value)}" for name, value in scores.means.items())
        return [*lines, "", f"Means over {scores.cases} test cases of the study, from scores.csv: {told}. {TERMS}"]
    if evaluation is None:
        return [*lines, "", "The run's folder has no evaluation of these weights; launch.evaluate makes one."]
    columns = ("mean", "sd", "median", "cases", "non_finite")
    return [
        *lines,
        "",
        f"Evaluated on the {evaluation['made_from']['split']} split of its own dataset, {evaluation['cases']} cases:",
        "",
        f"| metric | {' | '.join(columns)} |",
        "| --- |" + " --- |" * len(columns),
        *(
            f"| {name} | {' | '.join(_number(row.get(column)) for column in columns)} |"
            for name, row in evaluation["metrics"].items()
        ),
        "",
        TERMS,
    ]


def _provenance(source: Source, about: About) -> Lines:
    starts = source.provenance.get("starts") or [{}]
    begun = [
        f"{step['file']} (SHA-256 {step.get('sha256', UNKNOWN)}), of {step['source']}" for step in about["descent"]
    ]
    settings = ("seed", "learning_rate", "batch_size", "epochs")
    rows = {
        "run's weights": f"SHA-256 `{about['weights_sha256']}`",
        "begun with": "; ".join(begun) or ("random weights" if "weights" in source.provenance else UNKNOWN),
        "training began": starts[0].get("time_utc", UNKNOWN),
        "versions": ", ".join(f"{name} {version}" for name, version in starts[-1].get("versions", {}).items())
        or UNKNOWN,
        "source revision": starts[-1].get("git_revision") or UNKNOWN,
        "settings": ", ".join(f"{name} {source.config[name]}" for name in settings if name in source.config),
        "exported with": f"mskjax {about['mskjax']}, jax {jax.__version__}",
    }
    return _table(rows)


def _licence(about: About) -> Lines:
    told = (
        "mskjax's code is under the Apache License 2.0. The licence of these weights is for who trained them to state; "
        "the run has none."
    )
    return [
        told,
        *(line for step in about["descent"] for line in ("", f"Begun with {step['file']}: {step['licence']}.")),
    ]


def _table(rows: Mapping[str, str]) -> Lines:
    return ["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in (rows or {"": UNKNOWN}).items())]


def _number(value: Any) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
