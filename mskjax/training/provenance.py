"""What a run was made from: `config.json` and `provenance.json`, and that a resumed run is made from the same."""

import importlib.metadata
import platform
import reprlib
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax

import mskjax
from mskjax.files import read_json, write_json

# What may change when a run is resumed: when it stops and saves, where it runs, and where the same dataset lies now.
FREE = ("epochs", "patience", "stop_on", "checkpoint_minutes", "keep_epochs", "devices", "split_from", "dataset")
PACKAGES = ("mskjax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def check_config(workdir: Path, config: Mapping[str, Any], free: Sequence[str] = FREE) -> None:
    """Raises `ValueError` naming the fields, but for `free` ones, in which `config` differs from the folder's own.

    A field that the folder's lacks is a later version's, which may have changed more than that. A learning rate that
    falls until the last epoch depends on `epochs`, which are then not free.
    """
    if config.get("decay") == "cosine":
        free = [name for name in free if name != "epochs"]
    former = read_json(workdir / "config.json")
    if new := sorted(config.keys() - former.keys() - set(free)):
        raise ValueError(
            f"{workdir} was begun by a former version of mskjax, which had no config.{', config.'.join(new)}; "
            "go on with that version or use another workdir"
        )
    own, given = (_flatten({**c, **dict.fromkeys(free)}) for c in (former, config))
    changed = [name for name in sorted(own.keys() | given.keys()) if own.get(name) != given.get(name)]
    if changed:
        values = ", ".join(
            f"{name} {reprlib.repr(own.get(name))}, now {reprlib.repr(given.get(name))}" for name in changed
        )
        raise ValueError(f"{workdir} is of another config ({values}); change it back or use another workdir")


def check_dataset(workdir: Path, dataset_sha256: Mapping[str, str]) -> None:
    """Raises `ValueError` unless the run was made from the dataset of these digests."""
    if read_json(workdir / "provenance.json")["dataset"]["sha256"] != dataset_sha256:
        raise ValueError(f"{workdir} is of another dataset; give that one or use another workdir")


def record(
    workdir: Path, config: Mapping[str, Any], dataset: Mapping[str, Any], weights: Mapping[str, Any] | None, step: int
) -> None:
    """Writes config.json, and provenance.json with one more entry of `starts`; a start at step 0 begins it anew.

    `dataset` and `weights` say which files and digests the run is made from; a resumed run keeps its first `weights`.
    """
    former = read_json(workdir / "provenance.json") if step and (workdir / "provenance.json").is_file() else None
    start = {
        "time_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "step": step,
        "versions": {
            **{name: importlib.metadata.version(name) for name in PACKAGES},
            "python": platform.python_version(),
        },
        "devices": [device.device_kind for device in jax.devices()],
        "processes": jax.process_count(),
        "git_revision": git_revision(),
    }
    weights, starts = (former["weights"], former["starts"]) if former else (weights, [])
    write_json(workdir / "provenance.json", {"dataset": dataset, "weights": weights, "starts": [*starts, start]})
    write_json(workdir / "config.json", config)  # last: a folder that has it has both


def git_revision() -> str | None:
    """The commit of the source tree that runs, with "-dirty" after changes; None outside a repository of its own."""
    root = Path(mskjax.__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every field of a nested config by its dotted name."""
    flat = {}
    for name, value in config.items():
        flat.update(_flatten(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value})
    return flat
