"""The evaluation folder, and what of a run goes into it.

    evaluation/  cases.csv, summary.csv, summary.json, overlays/*.png, report.html

summary.json is written last and says what the evaluation was made from: while that stands, nothing is made again.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import mskjax
from mskjax.files import atomic_path, read_json, remove, sha256, write_json
from mskjax.study import report
from mskjax.study.summary import UNITS, Summary
from mskjax.training import origin

# To be raised when a metric, the report or an overlay changes, so that former evaluations are made anew.
_EDITION = 2
OUTPUTS = ("cases.csv", "summary.csv", "summary.json", "overlays", "report.html")


def dataset_of(workdir: Path) -> Path:
    """The dataset folder that the run's config names."""
    return Path(read_json(_present(workdir / "config.json", "train it with launch.train"))["dataset"])


def made_from(workdir: Path, dataset: Path, split: str) -> dict[str, Any]:
    """All that an evaluation depends on; `FileNotFoundError` where the run has no weights or the dataset is gone."""
    from mskjax.training.start import weight_file  # brings JAX along

    manifest = _present(dataset / "dataset.json", "name the dataset with --dataset if it has moved")
    metrics = workdir / "metrics.jsonl"
    return {
        "split": split,
        "weights_sha256": sha256(weight_file(workdir)),
        "dataset_sha256": read_json(manifest)["sha256"],
        "metrics_sha256": sha256(metrics) if metrics.is_file() else None,
        "finished": (workdir / "DONE").is_file(),
        "mskjax": mskjax.__version__,
        "edition": _EDITION,
    }


def place(
    workdir: str | Path, split: str, output: str | Path | None, dataset: str | Path | None
) -> tuple[Path, Path, Path, dict[str, Any], bool]:
    """The run, the dataset, the folder for the results, what they are made from, and whether the dataset is the run's.

    Raises `OSError` where the run or the dataset is missing, and `ValueError` for a pretraining, and for another
    dataset without an `output`.
    """
    origin.refuse_pretraining(workdir, "evaluate")
    workdir, source = Path(workdir), Path(dataset) if dataset else dataset_of(Path(workdir))
    made = made_from(workdir, source, split)
    own = is_own(workdir, made["dataset_sha256"])
    if not own and output is None:
        raise ValueError(
            f"{source} is not the dataset that {workdir} was trained on; name a folder for it with --output"
        )
    return workdir, source, Path(output or workdir / "evaluation"), made, own


def is_own(workdir: Path, dataset_sha256: dict[str, str]) -> bool:
    """Whether the run was trained on the dataset of these digests, wherever that lies now."""
    own = origin.dataset_sha256(workdir)
    if own is None:
        manifest = dataset_of(workdir) / "dataset.json"
        own = read_json(manifest)["sha256"] if manifest.is_file() else None
    return own == dataset_sha256


def is_current(output: Path, made_from: dict[str, Any], outputs: Sequence[str] = OUTPUTS) -> bool:
    """Whether the folder has all `outputs` and was made from just this."""
    if not all((output / name).exists() for name in outputs):
        return False
    return read_json(output / "summary.json").get("made_from") == made_from


def write(output: Path, cases: pd.DataFrame, findings: report.Findings, made_from: dict[str, Any]) -> None:
    """Writes the folder, replacing what an earlier evaluation left in it and nothing else."""
    remove(output / "summary.json")
    write_table(output / "cases.csv", cases)
    rows = [{"metric": name, "unit": UNITS[name], **asdict(row)} for name, row in findings.summary.items()]
    write_table(output / "summary.csv", pd.DataFrame(rows))
    with atomic_path(output / "overlays") as written:
        written.mkdir()
        for rank, (case_id, picture) in enumerate(zip(findings.cases["case_id"], findings.pictures, strict=True), 1):
            picture.save(written / f"{rank:03d}_{file_name(case_id)}.png")
    with atomic_path(output / "report.html") as written:
        written.write_text(report.render(findings), encoding="utf-8")
    counts = {"cases": len(cases), "patients": len(set(cases["patient_id"]))}
    found = {**counts, "dataset": findings.dataset, "metrics": _plain(findings.summary), "made_from": made_from}
    write_json(output / "summary.json", found)


def answer(output: Path) -> str:
    """The evaluation in a few lines of text: mean, sd and median of what matters most, and where to read on."""
    found = read_json(output / "summary.json")
    lines = [
        f"{found['made_from']['split']} cases of {found['dataset']}: {found['cases']}, patients: {found['patients']}"
    ]
    for name in ("dice", "rms_dta_cm", "sma_difference_cm2", "sma_difference_percent", "smd_difference_hu"):
        row = found["metrics"][name]
        mean, sd, median = (None if row[key] is None else f"{row[key]:.3f}" for key in ("mean", "sd", "median"))
        spread = f" ± {sd} (sd)" if sd else ""
        left_out = f" ({row['non_finite']} not finite, left out)" if row["non_finite"] else ""
        lines.append(f"  {name:24} mean {mean or '-'}{spread}, median {median or '-'}{left_out}")
    return "\n".join([*lines, f"report: {output / 'report.html'}"])


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Writes a table as CSV, whole or not at all."""
    with atomic_path(path) as written:
        table.to_csv(written, index=False, lineterminator="\n", encoding="utf-8")


def _plain(summary: Summary) -> dict[str, dict[str, Any]]:
    """The summary as JSON has it: what is not finite becomes null."""
    return {
        name: {"unit": UNITS[name]} | {key: value if np.isfinite(value) else None for key, value in asdict(row).items()}
        for name, row in summary.items()
    }


def file_name(case_id: str) -> str:
    """A case's id as part of a file's name; two ids may give the same."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", case_id)[:80]


def _present(path: Path, remedy: str) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path.parent} has no {path.name}; {remedy}")
    return path
