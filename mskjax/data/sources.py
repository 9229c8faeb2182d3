"""What a dataset was made from and holds, so that no other one replaces it unasked.

dataset.json repeats the arguments as they were given, and tells them apart by a keyed hash of their absolute paths.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mskjax.data import pseudonyms
from mskjax.data.manifest import read_manifest

_PATHS = ("images", "masks", "cases", "labels")


def described(source: Mapping[str, str] | None, key: bytes) -> dict[str, object]:
    """What dataset.json keeps of a source, the values of images, masks, cases and so on; nothing where it is None."""
    if source is None:
        return {}
    # More phantoms are no other phantoms, and labels say more of the same cases.
    own = {name: value for name, value in _absolute(source).items() if name not in ("phantom", "labels")}
    words = [f"{name}={value}" for name, value in sorted(own.items())]
    return {"source": dict(source), "source_id": pseudonyms.pseudonym(key, "source", *words)}


def refuse_other(output: Path, source: Mapping[str, str] | None, spacing_mm: Sequence[float] | None) -> None:
    """Raises `ValueError` where `output` holds a dataset from another source, of another kind or at another spacing.

    `spacing_mm` is that of the volumes asked for, None where slices are. One that tells no source is let pass as to
    that. Labels may be added or changed, but not left out, as they would be lost.
    """
    if not (output / "dataset.json").is_file():
        return
    manifest = read_manifest(output)
    _refuse_other_source(output, manifest.get("made_by") or {}, source)
    former = manifest.get("spacing_mm")
    if former != (None if spacing_mm is None else list(spacing_mm)):
        raise ValueError(
            f"{output / 'dataset.json'} tells of {_kind(former)}, and {_kind(spacing_mm)} would replace them; "
            "name another --output, or delete that folder first"
        )


def _refuse_other_source(output: Path, former: Mapping[str, Any], source: Mapping[str, str] | None) -> None:
    if source is None or "source_id" not in former:
        return
    lost = "labels" in former["source"] and "labels" not in source
    if not lost and former["source_id"] == described(source, pseudonyms.case_key(output))["source_id"]:
        return
    former_flags, new_flags = _flags(former["source"]), _flags(_absolute(source))
    raise ValueError(
        f"{output} holds a dataset made from {former_flags}, and {new_flags} would replace it; "
        "name another --output, or delete that folder first"
    )


def _kind(spacing_mm: Sequence[float] | None) -> str:
    if spacing_mm is None:
        return "slices (no --spacing_mm)"
    return f"volumes (--spacing_mm={','.join(f'{mm:g}' for mm in spacing_mm)})"


def _absolute(source: Mapping[str, str]) -> dict[str, str]:
    return {name: str(Path(value).resolve()) if name in _PATHS else value for name, value in source.items()}


def _flags(source: Mapping[str, str]) -> str:
    return " ".join(f"--{name}={value}" for name, value in source.items())
