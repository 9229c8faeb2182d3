r"""Runs the programs of this folder one after the other and writes their figures into RESULTS.md.

    python -m benchmarks [--only=NAME,NAME] [--peers=PYTHON,FOLDER] [--official=FOLDER]
    python -m benchmarks --list

A program whose peer is not installed here or in an environment of --peers, or that needs an accelerator where there is
none, is skipped. What was skipped, what failed, which targets were missed and which programs run on demand alone is
told at the end; exit status: 0 all ran or were skipped, 1 some failed, 2 nothing could be run. Use an otherwise idle
machine.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import load, peers
from benchmarks.programs import Program, read_programs
from benchmarks.results import BUSY, MISSED, Row, read_file, replace_rows

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_name("RESULTS.md")
LAST_LINES = 12


class Skipped(Exception):
    """A program cannot run here; the reason."""


class Failed(Exception):
    """A program ended in an error, or lacks a figure; what it said last."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of programs, with commas; all but those on demand if none")
    parser.add_argument("--peers", default="", help="Pythons or folders of packages, with commas")
    parser.add_argument("--official", default="", help="a copy of The-Veeraraghavan-Lab/SMIT")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the file to write to")
    parser.add_argument("--list", action="store_true", help="tell the programs and run none")
    given, programs = parser.parse_args(arguments), read_programs()
    try:
        chosen, among = choose(programs, given.only), peers.environments(given.peers)
        read_file(given.results)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if given.list:
        print("\n".join(map(line_of, programs.values())))
        return 0
    said: dict[str, list[str]] = {"skipped": [], "missed": [], "failed": []}
    for program in chosen:
        print(f"{program.name}, about {program.minutes:g} min", flush=True)
        start = time.perf_counter()
        try:
            machine, rows = take(program, among, given.official)
            replace_rows(given.results, machine, program.name, rows, list(programs))
        except (Skipped, Failed, ValueError) as reason:
            kind = "skipped" if isinstance(reason, Skipped) else "failed"
            said[kind].append(program.name)
            print(f"  {kind}: {reason}", flush=True)
            continue
        said["missed"] += [f"{program.name} ({row.figure})" for row in rows if MISSED in row.value]
        print(*(f"  {row.figure}: {row.value}" for row in rows), sep="\n")
        print(f"  took {(time.perf_counter() - start) / 60:.1f} min", flush=True)
    for kind, names in said.items():
        if names:
            print(f"{kind}: {', '.join(names)}")
    if not given.only:
        print(f"on demand alone, by --only: {', '.join(one.name for one in programs.values() if one.on_demand)}")
    return int(bool(said["failed"]))


def choose(programs: dict[str, Program], only: str) -> list[Program]:
    """The programs that are named, with commas between, or else all that are not on demand; `ValueError` for others."""
    names = [name for name in only.split(",") if name]
    if unknown := set(names) - programs.keys():
        raise ValueError(f"no program is called {', '.join(sorted(unknown))}; choose from {', '.join(programs)}")
    return [programs[name] for name in names] or [one for one in programs.values() if not one.on_demand]


def line_of(program: Program) -> str:
    """What --list tells of a program."""
    needs = f"; needs {', '.join(program.needs)}" if program.needs else ""
    return f"{program.name}: {program.minutes:g} min{needs}{'; on demand' if program.on_demand else ''}"


def take(program: Program, among: Sequence[peers.Environment], official: str) -> tuple[str, list[Row]]:
    """The machine and the rows of a program, which is run; raises `Skipped` or `Failed`."""
    home = peers.home_of(program.needs, among)
    if home is None:
        raise Skipped(f"no environment has {', '.join(program.needs)}; see benchmarks/requirements-peers.txt")
    if "{official}" in program.flags and not official:
        raise Skipped("no copy of the official code is given; name one with --official, or OFFICIAL of make")
    watch = load.Watch()
    with tempfile.TemporaryDirectory(prefix="mskjax-benchmark-") as work:
        places = {"python": home.python, "packages": home.packages, "official": official, "work": work}
        flags = [part.format_map(places) for part in shlex.split(program.flags)]
        found = list(run([sys.executable, "-m", f"benchmarks.{program.module}", *flags], program.platform))
    busy = BUSY if watch.others_share() > load.MOST else ""
    return found[0]["machine"], [row for figures in found for row in rows_of(program, home, figures, busy)]


def run(command: Sequence[str], platform: str = "") -> Iterator[dict[str, Any]]:
    """What a program says in its JSON lines; raises `Skipped` if it says so, and `Failed`."""
    environment = os.environ | ({"JAX_PLATFORMS": platform} if platform else {})
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    lines = [line for line in ended.stdout.splitlines() if line.startswith('{"benchmark"')]
    if ended.returncode or not lines:
        last = (ended.stdout + ended.stderr).splitlines()[-LAST_LINES:]
        raise Failed("\n    ".join([f"exit status {ended.returncode}, {len(lines)} JSON lines", *last]))
    for figures in map(json.loads, lines):
        if "skipped" in figures:
            raise Skipped(figures["skipped"])
        yield figures


def rows_of(program: Program, home: peers.Environment, figures: dict[str, Any], busy: str) -> Iterator[Row]:
    """A row for each of a program's figures; raises `Failed` where the JSON line lacks a name."""
    versions = figures["versions"] | {name: home.versions[name] for name in program.needs}
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    for figure in program.figures:
        try:
            missed = MISSED if figure.is_missed(figures) else ""
            name, value = figure.name.format_map(figures), figure.told(figures)
        except (LookupError, TypeError, ValueError) as error:
            raise Failed(f"{figure.name!r} cannot be told from its JSON line ({error!r})") from error
        yield Row(figures["date"], program.name, name, f"{value}{missed}{busy}", figure.target, told)


if __name__ == "__main__":
    sys.exit(main())
