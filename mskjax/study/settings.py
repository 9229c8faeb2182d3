"""The numbers and words of a study's config, each refused in a sentence that names its field."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

Config = ConfigDict | Mapping[str, Any]
Rule = tuple[Callable[[Any], bool], str]


def plain(config: Config) -> dict[str, Any]:
    """A config as it reads back from JSON, lists for tuples, so that the two can be compared."""
    return json.loads(config.to_json() if isinstance(config, ConfigDict) else json.dumps(config))


def is_whole(value: Any, least: int) -> bool:
    """Whether a value is a whole number from `least` on, True and False being none."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def check_whole(study: Mapping[str, Any], least: Mapping[str, int]) -> None:
    """Raises `ValueError` for the first field of `least` that is no whole number from there on."""
    for name, value in least.items():
        if not is_whole(study[name], value):
            raise ValueError(f"config.{name} is {study[name]!r}; it must be a whole number from {value} on")


def check_rules(study: Mapping[str, Any], rules: Mapping[str, Rule]) -> None:
    """Raises `ValueError` for the first field whose rule, what must hold and the words for it, does not."""
    for name, (holds, needed) in rules.items():
        if not holds(study[name]):
            raise ValueError(f"config.{name} is {study[name]!r}; it must be {needed}")


def check_words(study: Mapping[str, Any], words: Mapping[str, Sequence[str]]) -> None:
    """Raises `ValueError` for the first field that is none of its words."""
    for name, allowed in words.items():
        if study[name] not in allowed:
            raise ValueError(f"config.{name} is {study[name]!r}; it must be {' or '.join(allowed)}")


def check_names(study: Mapping[str, Any], field: str, noun: str, known: Sequence[str], where: str) -> None:
    """Raises `ValueError` where a field names nothing, something twice, or what is not `known`, which `where` has."""
    names = study[field]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"config.{field} is {names}; it must name at least one {noun}, and each once")
    if unknown := [name for name in names if name not in known]:
        several = tuple(unknown[0].split(","))  # a flag's text, of which a tuple was meant
        remedy = f'; write several as --config.{field}="{several}"' * (len(several) > 1)
        raise ValueError(f"{noun} {unknown[0]!r} is unknown; {where} {', '.join(known)}{remedy}")


def check_positive(place: str, fields: Mapping[str, Any], names: Sequence[str]) -> None:
    """Raises `ValueError` for the first of `names` that is not above 0 in the fields of config.`place`."""
    for name in names:
        if not fields[name] > 0:
            raise ValueError(f"config.{place}.{name} is {fields[name]}; it must be above 0")


def on_devices(count: int) -> dict[str, Any]:
    """The fields of a run's config that say what devices share, of a run of a study: its batch and nothing else."""
    return {"devices": count, "batch_norm": "global", "split_from": 0}
