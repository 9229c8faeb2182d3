"""The latest figures in RESULTS.md: a table for each machine, whose rows a new run of a program replaces.

The section is read back from its own lines, so that it is the only place where figures are kept; all that stands above
its heading is left as it is.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from mskjax.files import atomic_path

HEADING = "## Latest figures of `make benchmark`"
INTRODUCTION = """\
Written by `make benchmark`, which keeps a row for each figure and machine; `make benchmark ONLY=NAME` takes the figures
of one program anew and replaces its rows. "Missed" marks a value that does not reach its target, "busy" one that was
taken while other programs used more than a twentieth of the processors. In brackets: ours first, then the peer's.
"""
MISSED, BUSY = ", missed", ", busy"  # after a value
HEADER = ("| date | `ONLY=` | figure | value | target | versions |", "| --- | --- | --- | --- | --- | --- |")


@dataclass(frozen=True)
class Row:
    """A line of a machine's table."""

    date: str
    program: str
    figure: str
    value: str
    target: str
    versions: str


def replace_rows(path: Path, machine: str, program: str, rows: Sequence[Row], order: Sequence[str]) -> None:
    """Writes a program's rows in the place of those that it had on this machine; programs stand as in `order`.

    Raises `ValueError` for a row that would not be read back.
    """
    before, machines = read_file(path)
    kept = [row for row in machines.get(machine, []) if row.program != program]
    places = {name: place for place, name in enumerate(order)}
    machines[machine] = sorted([*kept, *rows], key=lambda row: places.get(row.program, len(places)))
    written = render(machines)
    if read_rows(written) != machines:
        raise ValueError(f"the rows of {program} on {machine} do not fit a table: {[astuple(row) for row in rows]}")
    with atomic_path(path) as temporary:
        temporary.write_text(f"{before.rstrip()}\n\n{HEADING}\n\n{INTRODUCTION}{written}", encoding="utf-8")


def read_file(path: Path) -> tuple[str, dict[str, list[Row]]]:
    """What stands above the latest figures, and the rows of each machine; `ValueError` as of `read_rows`."""
    before, _, section = path.read_text(encoding="utf-8").partition(HEADING)
    return before, read_rows(section)


def read_rows(section: str) -> dict[str, list[Row]]:
    """The rows of each machine, by the lines of a section; `ValueError` shows a row that was broken by hand."""
    machines: dict[str, list[Row]] = {}
    for line in section.splitlines():
        if line.startswith("### "):
            machines[line.removeprefix("### ")] = []
        elif machines and line.startswith("| ") and line not in HEADER:
            cells = [cell.strip() for cell in line.strip("|\n ").split(" | ")]
            if len(cells) != len(fields(Row)):
                raise ValueError(f"{line!r} has {len(cells)} cells and not {len(fields(Row))}; mend it or remove it")
            machines[list(machines)[-1]].append(Row(*cells))
    return machines


def render(machines: dict[str, list[Row]]) -> str:
    """The tables of all machines, each below its name."""
    tables = (
        "\n".join([f"\n### {machine}\n", *HEADER, *("| " + " | ".join(astuple(row)) + " |" for row in rows)])
        for machine, rows in machines.items()
    )
    return "\n".join(tables) + "\n"
