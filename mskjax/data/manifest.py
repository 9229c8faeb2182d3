"""`dataset.json`: what a dataset folder holds, who made it, and the digests by which its other files are trusted."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mskjax.files import read_json, sha256, write_json

FORMAT = 1


def write_manifest(path: Path, manifest: dict[str, Any], files: Iterable[str]) -> None:
    """Writes dataset.json with the digests of `files`, names in the folder `path` which are all written by now."""
    digests = {name: sha256(path / name) for name in files}
    write_json(path / "dataset.json", {**manifest, "format": FORMAT, "sha256": digests})


def read_manifest(path: Path) -> dict[str, Any]:
    """What dataset.json says; `OSError` where there is none, `ValueError` where it is broken or of another format."""
    file, remedy = path / "dataset.json", "delete that file and run launch.prepare again"
    if not file.is_file():
        raise FileNotFoundError(f"{path} holds no finished dataset (no dataset.json); make one with launch.prepare")
    try:
        manifest = read_json(file)
    except ValueError as error:
        raise ValueError(f"{file} is no JSON ({error.__cause__}); {remedy}") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f"{file} is not of dataset format {FORMAT}; {remedy}")
    return manifest


def is_of_volumes(manifest: dict[str, Any]) -> bool:
    """Whether the dataset with this manifest holds volumes, and not slices alone."""
    return "spacing_mm" in manifest


def check_digest(file: Path, manifest: dict[str, Any]) -> None:
    """Raises `OSError` where a file of the dataset is missing, `ValueError` where it is not as it was written."""
    if not file.is_file():
        raise FileNotFoundError(f"{file} is missing; run launch.prepare again")
    if sha256(file) != (manifest.get("sha256") or {}).get(file.name):
        raise ValueError(
            f"{file} is cut short or altered: it is not the file in dataset.json; run launch.prepare again"
        )
