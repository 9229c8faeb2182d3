"""Why a run of classification decided as it did: maps of its cases, as pictures and as a table.

    explanations.csv   one row a case and method, see `COLUMNS`
    001_CASE.png ...   the slice with its mask's outline, and each method's map over it

Explained is the likelier class, so that a map shows what speaks for the decision. `share_inside` is the share of the
map inside the mask, and `share_by_chance` that of an even map, the mask's area over the slice's. `rank_correlation` and
`structural_similarity` compare the map with that of the same network with fresh weights in all layers: near 1, the map
does not depend on what was learned.
"""

import difflib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pandas as pd
from jax.tree_util import Partial
from jaxtyping import Float32

from mskjax.data import batches
from mskjax.data.dataset import Dataset, read_dataset
from mskjax.explain import attribution, grad_cam, lime
from mskjax.explain.grad_cam import last_feature_map
from mskjax.files import atomic_path, require_folder
from mskjax.study.classifier import load_classifier, softmax
from mskjax.study.evaluation_folder import file_name, write_table
from mskjax.study.explanation_pictures import draw
from mskjax.study.prediction import progress
from mskjax.types import Variables

METHODS = ("grad_cam", "lime")
COLUMNS = (
    "case_id",
    "label",
    "probability",
    "method",
    "layer",
    "explained",
    "share_inside",
    "share_by_chance",
    "rank_correlation",
    "structural_similarity",
)
TABLE = "explanations.csv"
DECISIONS = ("not sarcopenic", "sarcopenic")
_BATCH = 16
_SEED = 0
_CALIBRATING = 8  # images whose statistics a network with fresh weights takes


def explain(
    run: str | Path,
    output: str | Path,
    cases: Sequence[str] = (),
    methods: Sequence[str] = METHODS,
    layer: str | None = None,
    samples: int = 1000,
    split: str = "test",
    dataset: str | Path | None = None,
) -> pd.DataFrame:
    """Explains the decisions of a run's best weights in the folder `output`; the rows of its explanations.csv.

    `cases` are case ids of the run's dataset, or else all of `split`; `layer` is Grad-CAM's, the network's last feature
    map unless given; `samples` are LIME's perturbations. `dataset` is for one that has moved, or another. Shares are
    NaN without a mask, similarities where a map is even. Raises `OSError` where run or dataset are missing, and
    `ValueError` for a run of another task and for cases, methods or layers that are not there.
    """
    output = Path(output)
    if unknown := [method for method in methods if method not in METHODS]:
        raise ValueError(f"method {unknown[0]!r} is unknown; choose of {', '.join(METHODS)}")
    classifier = load_classifier(run)
    data = _chosen(read_dataset(dataset or classifier.dataset), cases or classifier.own_cases(split), split)
    if data.values != classifier.task.values:
        raise ValueError(f"the run takes {classifier.task.values} values and the dataset holds {data.values}")
    require_folder(output)
    images = classifier.inputs(batches.fit(data.slices, classifier.image_size)["image_hu"])
    layer = layer or last_feature_map(classifier.task.module, classifier.variables, images[:1])
    answers = classifier.probabilities(images)
    explained = answers.argmax(axis=1)
    module, variables = classifier.task.module, classifier.variables
    fresh = attribution.randomised(module, variables, images[:_CALIBRATING], jax.random.key(_SEED))
    maps = {
        name: _maps(name, module, (variables, fresh), images, explained, layer, samples)
        for name in dict.fromkeys(methods)
    }
    rows = []
    for i in range(len(images)):
        own, attributed = zip(*_explained(data, i, answers[i], maps, layer), strict=True)
        with atomic_path(output / f"{i + 1:03d}_{file_name(own[0]['case_id'])}.png") as written:
            written.write_bytes(_picture(data, i, own, attributed, classifier.window))
        rows.extend(own)
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"label": "Int64"})
    write_table(output / TABLE, table)
    return table


def summary(table: pd.DataFrame) -> str:
    """The table in a line a method: the mean share inside masks beside chance's, and how like the maps stay."""
    lines = [f"cases explained: {table['case_id'].nunique()}"]
    for method in table["method"].unique():
        figures = table.loc[table["method"] == method, list(COLUMNS[-4:])]
        share, chance, rank, structure = figures.mean().to_numpy(float)
        masked, told = figures["share_by_chance"].count(), figures["share_inside"].count()
        inside = f"{share:.0%} inside the mask (chance {chance:.0%})" if told else "no share inside a mask"
        if told < masked:
            inside += f", {masked - told} of {masked} maps are zero and left out"
        alike = f"rank correlation {rank:.2f}, structural similarity {structure:.2f}"
        lines.append(f"  {method}: {inside}; compared with fresh weights: {alike}")
    return "\n".join(lines)


def _chosen(data: Dataset, cases: Sequence[str], split: str) -> Dataset:
    known = list(map(str, data.slices.case_id))
    if unknown := [case for case in cases if case not in known]:
        near = difflib.get_close_matches(unknown[0], known, n=5, cutoff=0.3) or known[:5]
        raise ValueError(f"case {unknown[0]!r} is not in the dataset; near ids are {', '.join(near)}")
    rows = np.array([known.index(case) for case in dict.fromkeys(cases)], np.int64) if cases else data.rows(split)
    if not len(rows):
        raise ValueError(f"the dataset has no {split} cases; name some with --cases, or another --split")
    return data.select(rows)


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


def _explained(
    data: Dataset, i: int, probabilities: np.ndarray, maps: dict[str, np.ndarray], layer: str
) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """The rows of a case, each with its map on the slice's own grid."""
    image_hu, mask, spacing_mm = data.slices.case(i)
    inside = mask.astype(bool)
    for method, squares in maps.items():
        learned, fresh = squares[:, i]
        attributed = batches.unfit(learned, image_hu.shape, spacing_mm)
        row = {
            "case_id": data.cases["case_id"].iloc[i],
            "label": data.cases["sarcopenia"].iloc[i],
            "probability": float(probabilities[1]),
            "method": method,
            "layer": layer if method == "grad_cam" else "",
            "explained": int(probabilities.argmax()),
            "share_inside": attribution.share_inside(attributed, inside) if inside.any() else np.nan,
            "share_by_chance": float(inside.mean()) if inside.any() else np.nan,
            "rank_correlation": attribution.rank_correlation(learned, fresh),
            "structural_similarity": attribution.structural_similarity(learned, fresh),
        }
        yield row, attributed


def _picture(data: Dataset, i: int, rows: Sequence[dict[str, Any]], maps: Sequence[np.ndarray], window: tuple) -> bytes:
    image_hu, mask, spacing_mm = data.slices.case(i)
    panels = {row["method"]: attributed for row, attributed in zip(rows, maps, strict=True)}
    label, explained = rows[0]["label"], rows[0]["explained"]
    title = (
        f"{rows[0]['case_id']}, label: {'not known' if pd.isna(label) else DECISIONS[int(label)]}, probability of "
        f"sarcopenia {rows[0]['probability']:.2f}; the maps show what speaks for: {DECISIONS[explained]}"
    )
    return draw(image_hu, spacing_mm, mask, panels, title, window)
