"""Why a run of classification decided as it did: maps of its cases, as pictures and as a table.

The table has a row a case and method, see `COLUMNS`; `mskjax.study.explanation_folder` tells of the files. `split` is
that of the run, empty for cases of another dataset. Explained is the class that was decided, unless one is asked for:
sarcopenic from the threshold on that validation data chose, as the study and `launch.evaluate` decide. `share_inside`
is the share of the map inside the mask, and `share_by_chance` that of an even map, the mask's area over the slice's.
`rank_correlation` and `structural_similarity` compare the map with that of the same network with fresh weights in all
layers: near 1, the map does not depend on what was learned; `undefined` says why the first may be missing.
"""

import difflib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pandas as pd
from absl import logging
from jax.tree_util import Partial
from jaxtyping import Float32

from mskjax.data import batches
from mskjax.data.dataset import SPLITS, Dataset, read_dataset
from mskjax.explain import attribution, grad_cam, lime
from mskjax.explain.grad_cam import last_feature_map
from mskjax.files import atomic_path, require_folder
from mskjax.measure.diagnosis import youden_threshold
from mskjax.study import classification_evaluation, explanation_folder
from mskjax.study.classifier import Classifier, load_classifier, softmax
from mskjax.study.evaluation_folder import file_name, is_own
from mskjax.study.explanation_pictures import DECISIONS, draw, heading
from mskjax.study.explanation_summary import why_undefined
from mskjax.study.prediction import progress
from mskjax.study.probability_judge import SCORES, read_probabilities
from mskjax.types import Variables

METHODS = ("grad_cam", "lime")
COLUMNS = (
    "case_id",
    "split",
    "label",
    "probability",
    "decision",
    "threshold",
    "method",
    "layer",
    "explained",
    "share_inside",
    "share_by_chance",
    "rank_correlation",
    "structural_similarity",
    "undefined",
)
_BATCH = 16
_SEED = 0
_CALIBRATING = 8  # images whose statistics a network with fresh weights takes


@dataclass(frozen=True)
class _Explained:
    """Cases with their probability, the threshold that decides, the class explained of each, and the maps by method.

    Maps are [m n s s]: those of the run's own weights, and then, where they are compared, those of fresh ones.
    """

    data: Dataset
    probability: np.ndarray
    threshold: float
    target: np.ndarray
    maps: dict[str, np.ndarray]
    layer: str


def explain(
    run: str | Path,
    output: str | Path | None = None,
    cases: Sequence[str] = (),
    methods: Sequence[str] = METHODS,
    layer: str | None = None,
    samples: int = 1000,
    split: str = "test",
    dataset: str | Path | None = None,
    target: int | None = None,
    randomised: bool = True,
) -> pd.DataFrame:
    """Explains the decisions of a run's best weights in the folder `output`; the rows of its explanations.csv.

    `output` is run/explanations unless given; what a former call left there is replaced. `cases` are case ids of the
    run's dataset, or else all of `split`; `layer` is Grad-CAM's, the network's last feature map unless given; `samples`
    are LIME's perturbations. `dataset` is for one that has moved, or another. `target` is the class explained, the
    decided one unless given. Without `randomised` no map of fresh weights is made, and similarities are NaN; they are
    NaN too where a map is even, as shares are without a mask. Raises `OSError` where run or dataset are missing, and
    `ValueError` for a run of another task and for cases, methods, layers or classes that are not there.
    """
    output = Path(output or Path(run) / explanation_folder.NAME)
    if unknown := [method for method in methods if method not in METHODS]:
        raise ValueError(f"method {unknown[0]!r} is unknown; choose of {', '.join(METHODS)}")
    if target not in (None, *range(len(DECISIONS))):
        raise ValueError(f"target is {target}; give 0 ({DECISIONS[0]}), 1 ({DECISIONS[1]}) or none for the decision")
    classifier = load_classifier(run)
    source = Path(dataset or classifier.dataset)
    data = read_dataset(source)
    chosen = _chosen(data, cases or classifier.own_cases(split), split)
    if data.values != classifier.task.values:
        raise ValueError(f"the run takes {classifier.task.values} values and the dataset holds {data.values}")
    require_folder(output)
    own = is_own(Path(run), data.manifest["sha256"])
    threshold, chosen = _threshold(Path(run), classifier, source, data, own), _split_by_run(chosen, classifier, own)
    found = _explained(classifier, chosen, threshold, target, tuple(dict.fromkeys(methods)), layer, samples, randomised)
    return _write(output, found, classifier)


def _chosen(data: Dataset, cases: Sequence[str], split: str) -> Dataset:
    known = list(map(str, data.slices.case_id))
    if unknown := [case for case in cases if case not in known]:
        near = difflib.get_close_matches(unknown[0], known, n=5, cutoff=0.3) or known[:5]
        raise ValueError(f"case {unknown[0]!r} is not in the dataset; near ids are {', '.join(near)}")
    rows = np.array([known.index(case) for case in dict.fromkeys(cases)], np.int64) if cases else data.rows(split)
    if not len(rows):
        raise ValueError(f"the dataset has no {split} cases; name some with --cases, or another --split")
    return data.select(rows)


def _split_by_run(data: Dataset, classifier: Classifier, own: bool) -> Dataset:
    """The cases with the split that they have in the run, "" for those that have none in it."""
    splits = data.cases["split"]
    if drawn := {case: split for split in SPLITS for case in classifier.own_cases(split)}:
        splits = [drawn.get(case, "") for case in data.cases["case_id"]]
    return replace(data, cases=data.cases.assign(split=splits if own else ""))


def _threshold(run: Path, classifier: Classifier, source: Path, data: Dataset, own: bool) -> float:
    """The threshold that decides: of a cell by the scores that the study goes by, of a run as when it is evaluated."""
    if "cell" in classifier.config and (run / SCORES).is_file():
        scores = read_probabilities(run).query("split == 'validation'")
        found = youden_threshold(scores["label"].to_numpy(int), scores["probability"].to_numpy(float))
        value, reason = found.value, found.reason
    else:
        told = classification_evaluation.decision_threshold(run, source, data, own, classifier)
        value, reason = told["value"], told["reason"]
    if reason:
        logging.warning("%s: no threshold can be chosen, as %s; %.1f decides", run, reason, value)
    return value


def _explained(
    classifier: Classifier,
    data: Dataset,
    threshold: float,
    target: int | None,
    methods: Sequence[str],
    layer: str | None,
    samples: int,
    randomised: bool,
) -> _Explained:
    images = classifier.inputs(classifier.squares(data.slices))
    module, variables = classifier.task.module, classifier.variables
    layer = layer or last_feature_map(module, variables, images[:1])
    probability = classifier.probabilities(images)[:, 1].astype(float)
    decided = (probability >= threshold).astype(np.int64)
    targets = decided if target is None else np.full_like(decided, target)
    weights = [variables]
    if randomised:
        weights.append(attribution.randomised(module, variables, images[:_CALIBRATING], jax.random.key(_SEED)))
    maps = {name: _maps(name, module, weights, images, targets, layer, samples) for name in methods}
    return _Explained(data, probability, threshold, targets, maps, layer)


def _maps(
    method: str,
    module: nn.Module,
    weights: Sequence[Variables],
    images: np.ndarray,
    explained: np.ndarray,
    layer: str,
    samples: int,
) -> Float32[np.ndarray, "m n s s"]:
    """Maps of the explained classes of all images by the network with each of `weights`."""
    if method == "grad_cam":
        return np.stack([grad_cam(module, each, images, explained, layer, batch_size=_BATCH) for each in weights])
    forward, key = functools.partial(softmax, module), jax.random.key(_SEED)
    maps = np.empty((len(weights), *images.shape[:3]), np.float32)
    for i in progress(range(len(images)), "case"):
        for k, each in enumerate(weights):
            maps[k, i] = lime(Partial(forward, each), images[i], samples, key, target=int(explained[i]))[0]
    return maps


def _write(output: Path, found: _Explained, classifier: Classifier) -> pd.DataFrame:
    """Writes the folder, replacing what a former call left in it and nothing else; the table."""
    explanation_folder.clear(output)
    rows, pictures = [], []
    for i in range(len(found.target)):
        own, attributed = zip(*_rows(found, i), strict=True)
        pictures.append(f"{i + 1:03d}_{file_name(own[0]['case_id'])}.png")
        with atomic_path(output / pictures[-1]) as written:
            written.write_bytes(_picture(found.data, i, own, attributed, classifier.window))
        rows.extend(own)
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"label": "Int64"})
    learned = {method: squares[0] for method, squares in found.maps.items()}
    explanation_folder.write(output, table, pictures, learned, classifier.weights_sha256, found.data.manifest["sha256"])
    return table


def _rows(found: _Explained, i: int) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """The rows of a case, each with its map on the slice's own grid."""
    image_hu, mask, spacing_mm = found.data.slices.case(i)
    inside = mask.astype(bool)
    for method, squares in found.maps.items():
        learned, *fresh = squares[:, i]
        attributed = batches.unfit(learned, image_hu.shape, spacing_mm)
        row = {
            "case_id": found.data.cases["case_id"].iloc[i],
            "split": found.data.cases["split"].iloc[i],
            "label": found.data.cases["sarcopenia"].iloc[i],
            "probability": found.probability[i],
            "decision": int(found.probability[i] >= found.threshold),
            "threshold": found.threshold,
            "method": method,
            "layer": found.layer if method == "grad_cam" else "",
            "explained": int(found.target[i]),
            "share_inside": attribution.share_inside(attributed, inside) if inside.any() else np.nan,
            "share_by_chance": float(inside.mean()) if inside.any() else np.nan,
            "rank_correlation": attribution.rank_correlation(learned, fresh[0]) if fresh else np.nan,
            "structural_similarity": attribution.structural_similarity(learned, fresh[0]) if fresh else np.nan,
            "undefined": why_undefined(learned, fresh[0]) if fresh else "",
        }
        yield row, attributed


def _picture(data: Dataset, i: int, rows: Sequence[dict[str, Any]], maps: Sequence[np.ndarray], window: tuple) -> bytes:
    image_hu, mask, spacing_mm = data.slices.case(i)
    panels = {row["method"]: attributed for row, attributed in zip(rows, maps, strict=True)}
    return draw(image_hu, spacing_mm, mask, panels, heading(rows[0]), window, sided=data.values == "hu")
