"""Which of the labels in a mask file are meant: by number or by name, never by guess."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

Number = int | np.integer
Label = Number | str | Sequence[Number | str]
MOST_LISTED = 200


def choose(label: Label | None, present: Mapping[int, str], path: str | Path) -> list[int]:
    """The numbers of the labels meant; `present` maps each number in the file to its name, "" where it has none.

    A name is compared whole, first as it stands and then without regard to case; a text that is no name but a number is
    that number. None means the only label; of an empty file it gives []. Raises `ValueError` with all labels in the
    file where several are present and none is named, one is not there, or a name fits several.
    """
    if label is None:
        if len(present) > 1:
            raise ValueError(
                f"{path} holds {len(present)} labels: {_listed(present)}; name the muscle's with --label, "
                "several as --label=1,2 (in a CSV's column label as 1|2)"
            )
        return list(present)
    wanted = [label] if isinstance(label, Number | str) else list(label)
    if not wanted:
        raise ValueError(f"an empty list of labels names nothing in {path}; it holds {_listed(present)}")
    return [_number(one, present, path) for one in wanted]


def _number(label: Number | str, present: Mapping[int, str], path: str | Path) -> int:
    text = str(label).strip()
    exact = [number for number, name in present.items() if name.strip() == text]
    alike = [number for number, name in present.items() if name.strip().casefold() == text.casefold()]
    by_number = [number for number in present if str(number) == text]
    found = by_number if isinstance(label, Number) else exact or alike or by_number
    if not found:
        raise ValueError(f"{path} has no label {label!r}; it holds {_listed(present)}")
    if len(found) > 1:
        raise ValueError(
            f"the name {label!r} fits labels {_listed({n: present[n] for n in found})} of {path}; give the number"
        )
    return found[0]


def _listed(present: Mapping[int, str]) -> str:
    shown = [f"{number} ({name})" if name else str(number) for number, name in sorted(present.items())[:MOST_LISTED]]
    more = len(present) - len(shown)
    return ", ".join(shown + [f"and {more} more"] * (more > 0)) or "no label at all"
