"""Which of the user's arguments a dataset was made from, so that no other one replaces it unasked.

dataset.json repeats the arguments as they were given, and tells them apart by a keyed hash of their absolute paths.
"""

from collections.abc import Mapping
from pathlib import Path

from mskjax.data import pseudonyms
from mskjax.files import read_json

_PATHS = ("images", "masks", "cases", "labels")


def described(source: Mapping[str, str] | None, key: bytes) -> dict[str, object]:
    """What dataset.json keeps of a source, the values of images, masks, cases and so on; nothing where it is None."""
    if source is None:
        return {}
    # More phantoms are no other phantoms, and labels say more of the same cases.
    own = {name: value for name, value in _absolute(source).items() if name not in ("phantom", "labels")}
    words = [f"{name}={value}" for name, value in sorted(own.items())]
    return {"source": dict(source), "source_id": pseudonyms.pseudonym(key, "source", *words)}


def refuse_other(output: Path, source: Mapping[str, str] | None) -> None:
    """Raises `ValueError` where `output` holds a dataset from another source; one that tells no source is let pass.

    Labels may be added or changed, but not left out, as they would be lost.
    """
    if source is None or not (output / "dataset.json").is_file():
        return
    former = read_json(output / "dataset.json").get("made_by") or {}
    if "source_id" not in former:
        return
    lost = "labels" in former["source"] and "labels" not in source
    if not lost and former["source_id"] == described(source, pseudonyms.case_key(output))["source_id"]:
        return
    former_flags, new_flags = _flags(former["source"]), _flags(_absolute(source))
    raise ValueError(
        f"{output} holds a dataset made from {former_flags}, and {new_flags} would replace it; "
        "name another --output, or delete that folder first"
    )


def _absolute(source: Mapping[str, str]) -> dict[str, str]:
    return {name: str(Path(value).resolve()) if name in _PATHS else value for name, value in source.items()}


def _flags(source: Mapping[str, str]) -> str:
    return " ".join(f"--{name}={value}" for name, value in source.items())
