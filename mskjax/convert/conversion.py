"""From a published weight file to one safetensors file that says what it was made of; what launch/convert does."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mskjax import __version__
from mskjax.convert.download import download as fetch
from mskjax.convert.families import variant_of
from mskjax.convert.load import load_weights
from mskjax.convert.manifest import FOLDER, Entry, choose, read_manifest, recognise, recognise_by_name
from mskjax.convert.store import read_metadata, save_variables
from mskjax.files import sha256
from mskjax.types import Variables


def convert(
    model: str,
    output: str | Path,
    weights: str | Path | None = None,
    entry: str | None = None,
    folder: str | Path = FOLDER,
    **options: Any,
) -> str:
    """A sentence with the counts of what was written to `output`, or that it was made of the same source before.

    The source is the file `weights` or, without one, the manifest's `entry`, downloaded into `folder`; with neither it
    is the manifest's first entry for the model. `options` are those of `models.build`. A file that the manifest knows
    by its hash brings its licence and preprocessing into the metadata, as does one whose hash is not known,
    by its name and network; the metadata says which. Raises as `load_weights` and `download` do.
    """
    entries = read_manifest(folder)
    if weights and not Path(weights).is_file():
        raise FileNotFoundError(f"there is no file {weights}; name the published one, or fetch it with --download")
    source = Path(weights) if weights else fetch(choose(entries, model, entry), folder)
    digest = sha256(source)
    metadata = _metadata(source, digest, model, options, entries)
    if _made_before(Path(output), source, metadata):
        return f"{output} is made of {source.name} already"
    variables = load_weights(source, model, **options)
    save_variables(output, variables, metadata)
    return f"{output}: {_counts(variables)}, from {source.name}"


def _metadata(
    source: Path, digest: str, model: str, options: dict[str, Any], entries: Mapping[str, Entry]
) -> dict[str, str]:
    variant = variant_of(model, options)
    entry = recognise(entries, source.name, digest) or recognise_by_name(entries, source.name, model, variant)
    known = {} if entry is None else {"licence": entry.licence, "preprocessing": json.dumps(entry.preprocessing)}
    return {
        "source": source.name,
        "sha256": digest,
        "model": model,
        "variant": variant,
        "options": json.dumps(options, sort_keys=True),
        "licence": "unknown: the manifest does not list this file",
        "preprocessing": "unknown",
        "recognised": "no" if entry is None else "by its hash" if entry.known_digits else "by its name alone",
        "converter": f"mskjax {__version__}",
        **known,
    }


def _made_before(output: Path, source: Path, metadata: dict[str, str]) -> bool:
    """Whether `output` holds just this; `ValueError` when it is no converted file, which is never overwritten."""
    if not output.exists():
        return False
    if output.samefile(source):
        raise ValueError(f"{output} is the source itself; give the converted weights a name of their own")
    former = read_metadata(output)
    if "converter" not in former:
        raise ValueError(f"{output} exists and was not made by launch.convert; choose another name or delete it")
    return former == metadata


def _counts(variables: Variables) -> str:
    params, statistics = (jax.tree.leaves(variables.get(name, {})) for name in ("params", "batch_stats"))
    values = sum(int(np.size(leaf)) for leaf in params)
    return f"{values:,} parameters in {len(params)} leaves and {len(statistics)} leaves of running statistics"
