"""Numbers and tables as a terminal shows them."""

import math
from collections.abc import Sequence
from typing import Any


def size(number: int | float) -> str:
    """Bytes in decimal units, as in 116.6 GB."""
    power = min(int(math.log10(max(number, 1))) // 3, 4)
    return f"{number / 1000**power:.{1 if power else 0}f} {('B', 'kB', 'MB', 'GB', 'TB')[power]}"


def duration(seconds: int | float) -> str:
    """Seconds in the unit that a reader would choose, as in 40 s, 12 min, 3.4 h, 5.1 days."""
    for unit, length_s, least_s, digits in (("days", 86400, 345600, 1), ("h", 3600, 5400, 1), ("min", 60, 90, 0)):
        if seconds >= least_s:
            return f"{seconds / length_s:.{digits}f} {unit}"
    return f"{seconds:.0f} s"


def table(rows: Sequence[Sequence[Any]]) -> str:
    """Rows of equal length as lines, the first column aligned to the left and the others to the right."""
    words = [[str(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*words, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(word.rjust(width) for word, width in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in words
    )
