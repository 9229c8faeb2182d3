"""Where an exported run's weights come from and what they achieve, as far as its folder says; no paths, no patients."""

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from absl import logging

from mskjax import __version__
from mskjax.convert.store import read_metadata
from mskjax.export.source import Source
from mskjax.files import read_json, sha256
from mskjax.training import origin
from mskjax.training.start import BEST
from mskjax.training.writer import METRICS, read_rows

UNKNOWN = "unknown"
Step = dict[str, str]


def about(source: Source) -> dict[str, Any]:
    """What goes wherever the export goes: names and digests.

    Where the weights were begun with some that must not be passed on, nor what derives from them, the log says so.
    """
    steps = descent(source.folder)
    for step in steps:
        if "forbid" in step["licence"]:
            logging.warning("begun with %s: %s; keep the export to yourself", step["file"], step["licence"])
    return {
        "mskjax": __version__,
        "folder": source.folder.resolve().name,
        "weights_sha256": source.weights_sha256,
        "dataset_sha256": origin.dataset_sha256(source.folder),
        "learned_from_phantoms_only": origin.learned_from_phantoms(source.folder),
        "descent": steps,
    }


def descent(run: Path) -> list[Step]:
    """Each file of weights that a run was begun with, and so on where that is a run's: file, sha256, source, licence.

    Empty for a run that began at random. What a file that is gone, or has changed, would say is unknown.
    """
    weights, resumed = origin.provenance_of(run).get("weights"), _config(run).get("resume")
    if not weights:
        checkpoint = {"file": f"checkpoint of {Path(resumed or '').name}", "source": UNKNOWN, "licence": UNKNOWN}
        return [checkpoint] if resumed else []
    path = Path(weights["path"])
    known = {"file": path.name, "sha256": weights["sha256"], "source": UNKNOWN, "licence": UNKNOWN}
    if not path.is_file() or sha256(path) != weights["sha256"]:
        return [known]
    if path.parts[-2:] == BEST.parts:
        parent, task = path.parents[1], _config(path.parents[1]).get("task") or {}
        own = {"file": f"run {parent.resolve().name}", "source": f"the task {task.get('name', UNKNOWN)}"}
        return [{**known, **own, "licence": "as of what that was begun with, if anything"}, *descent(parent)]
    metadata = read_metadata(path)
    return [{**known, **{name: metadata[name] for name in ("source", "licence") if name in metadata}}]


def training_scores(source: Source) -> dict[str, Any]:
    """Steps and loss of the chosen weights, and what was measured in that epoch."""
    done, metrics = source.folder / "DONE", source.folder / METRICS
    found = read_json(done) if done.is_file() else {}
    rows = [row for row in read_rows(metrics) if row.get("step") == found.get("best_step")]
    told = {name: value for name, value in found.items() if name.startswith(("step", "best_"))}
    return told | {name: value for row in rows[-1:] for name, value in row.items() if name.startswith("validation_")}


def evaluation(source: Source) -> dict[str, Any] | None:
    """The summary of the run's evaluation; None where there is none of these weights."""
    summary = source.folder / "evaluation" / "summary.json"
    found = read_json(summary) if summary.is_file() else {}
    of_these = (found.get("made_from") or {}).get("weights_sha256") == source.weights_sha256
    return found if of_these and {"metrics", "cases"} <= found.keys() else None


class CellScores(NamedTuple):
    """The number of test cases of a study's cell, and the means of its scores."""

    cases: int
    means: dict[str, float]


def cell_scores(source: Source) -> CellScores | None:
    """What a cell's weights score on the test cases of its study; None for another run, and without masks."""
    file = source.folder / "scores.csv"
    if "cell" not in source.config or not file.is_file():
        return None
    table = pd.read_csv(file)
    tested = table[table["split"] == "test"] if "split" in table else table
    names = [name for name in ("dice", "rms_dta_cm") if name in table]
    return CellScores(len(tested), tested[names].mean().to_dict()) if names else None


def _config(run: Path) -> dict[str, Any]:
    return read_json(run / "config.json") if (run / "config.json").is_file() else {}
