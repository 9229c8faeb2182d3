"""What is known of published weight files: third_party_weights/manifest.json, read and checked."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mskjax.files import read_json
from mskjax.models.options import VARIANTS

FOLDER = Path(__file__).parents[2] / "third_party_weights"


@dataclass(frozen=True)
class Entry:
    """One published file: where it is, how it is recognised, what it holds and how its images were prepared.

    `url` and `sha256` are None where they are not known; `sha256_prefix` is what the file's own name says. `options`
    are those of `models.build` that fit all of the file. `other_files` are further names of the same weights.
    """

    name: str
    file: str
    model: str
    options: Mapping[str, Any]
    rules: str
    url: str | None
    sha256: str | None
    sha256_prefix: str | None
    licence: str
    preprocessing: Mapping[str, Any]
    how_to_obtain: str
    other_files: Sequence[str] = ()

    @property
    def known_digits(self) -> str:
        """What a file's SHA-256 must begin with, all of it where it is known; empty where nothing is."""
        return self.sha256 or self.sha256_prefix or ""

    def matches(self, sha256: str) -> bool:
        """Whether a file with this SHA-256 is the published one, as far as is known."""
        return bool(self.known_digits) and sha256.startswith(self.known_digits)


def read_manifest(folder: str | Path = FOLDER) -> dict[str, Entry]:
    """The entries of a folder's manifest.json by name, in their order; `ValueError` for one that is not well formed."""
    path = Path(folder) / "manifest.json"
    try:
        entries = {name: Entry(name=name, **fields) for name, fields in read_json(path).items()}
    except (AttributeError, TypeError) as error:
        raise ValueError(
            f"{path} has an entry that is not well formed ({error}); the README beside it lists the fields"
        ) from error
    for entry in entries.values():
        _check(path, entry)
    return entries


def choose(entries: Mapping[str, Entry], model: str, name: str | None = None) -> Entry:
    """The entry of a name, or the first one for a model; `ValueError` lists the names where there is none."""
    named = entries.values() if name is None else [entries[name]] if name in entries else []
    for entry in named:
        if entry.model == model:
            return entry
    others = ", ".join(f"{entry.name} ({entry.model})" for entry in entries.values())
    raise ValueError(f"the manifest has no {name or 'entry'} for model {model!r}, only {others}")


def conversion_command(output: str | Path) -> str:
    """The command that converts published weights to the file `output`, downloading them where a url is known.

    The file is named as configs name it: after the network, with "_torchvision" behind it for that form of a network
    that has two, and in a folder radimagenet where it holds RadImageNet's weights.
    """
    stem, of_radimagenet = Path(output).stem, Path(output).parent.name == "radimagenet"
    name = stem.removesuffix("_torchvision")
    form = "torchvision" if name != stem else VARIANTS.get(name, ("",))[0]
    fitting = [
        entry
        for entry in read_manifest().values()
        if entry.model == name
        and of_radimagenet == entry.name.startswith("radimagenet")
        and entry.options.get("variant", form) == form
    ]
    if not fitting:
        return f"python -m launch.convert --model=MODEL --weights=FILE --output={output}"
    source = "--download" if fitting[0].url else f"--weights={fitting[0].file}"
    options = [] if name == stem else ["--variant=torchvision"]
    options += ["--num_classes=0"] if fitting[0].options.get("num_classes", 0) is None else []
    return " ".join([f"python -m launch.convert --model={name}", *options, source, f"--output={output}"])


def recognise(entries: Mapping[str, Entry], file: str, sha256: str) -> Entry | None:
    """The entry that a file with this SHA-256 is; None where the manifest does not know it.

    Raises `ValueError` for a file of a published name but other content: it was cut short or altered on its way.
    """
    if known := next((entry for entry in entries.values() if entry.matches(sha256)), None):
        return known
    if named := next((entry for entry in entries.values() if entry.file == file and entry.known_digits), None):
        raise ValueError(
            f"{file} has the SHA-256 {sha256} where that of {named.name} begins with {named.known_digits}; "
            "download it again, or rename it if it is another file"
        )
    return None


def recognise_by_name(entries: Mapping[str, Entry], file: str, model: str, variant: str) -> Entry | None:
    """The entry that a file of this name is for a network, of those whose hash is unknown; None where there is none.

    Case and the choice of - or _ do not matter: RadImageNet's own code and its users spell the names in both ways.
    """
    unhashed = [entry for entry in entries.values() if not entry.known_digits and entry.model == model]
    fitting = [entry for entry in unhashed if entry.options.get("variant", variant) == variant]
    spelled = _spelling(file)
    return next((entry for entry in fitting if spelled in map(_spelling, (entry.file, *entry.other_files))), None)


def _spelling(name: str) -> str:
    return name.lower().replace("-", "_")


def _check(path: Path, entry: Entry) -> None:
    if entry.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", entry.sha256):
        raise ValueError(f"{path}: sha256 of {entry.name} is not 64 hexadecimal digits; give null where it is unknown")
    if entry.sha256_prefix is not None and not re.fullmatch("[0-9a-f]{8,64}", entry.sha256_prefix):
        raise ValueError(f"{path}: sha256_prefix of {entry.name} is not 8 or more hexadecimal digits; or give null")
    if entry.url and not entry.known_digits:
        raise ValueError(f"{path}: {entry.name} has a url and no hash to check the file by; add its sha256")
