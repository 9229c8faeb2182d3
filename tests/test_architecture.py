"""The house's own rules, read from the source: which room may import which, and how long files may be."""

import ast
import itertools
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# From the top down; rooms on one line do not import each other.
FLOORS = [
    {"launch", "configs"},
    {"mskjax.study"},
    {"mskjax.export"},
    {"mskjax.training"},
    {"mskjax.tasks"},
    {"mskjax.convert", "mskjax.explain", "mskjax.measure"},
    {"mskjax.models"},
    {"mskjax.data"},
    {"mskjax.bounds", "mskjax.files", "mskjax.processes", "mskjax.types"},
]
LEVEL = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
SOURCES = sorted(p for top in ("mskjax", "launch", "configs") for p in (ROOT / top).rglob("*.py"))
PROGRAM = [*SOURCES, *sorted((ROOT / "benchmarks").rglob("*.py"))]


def room(module: str) -> str | None:
    parts = module.split(".")
    name = parts[0] if parts[0] in ("launch", "configs") else ".".join(parts[:2])
    return name if name in LEVEL else None


def imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down(path):
    own = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
    if own is None:
        return
    others = {other for name in imports(path) if (other := room(name)) not in (None, own)}
    upward = {other for other in others if LEVEL[other] <= LEVEL[own]}
    assert not upward, f"{own} must not import {upward}"


def test_every_room_is_on_a_floor():
    rooms = {room(".".join(p.relative_to(ROOT).with_suffix("").parts)) for p in SOURCES} - {None}
    unplaced = [p for p in (ROOT / "mskjax").iterdir() if p.is_dir() and p.name != "__pycache__"]
    assert {f"mskjax.{p.name}" for p in unplaced} <= rooms


@pytest.mark.parametrize("path", PROGRAM, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_stay_short(path):
    lines = len(path.read_text().splitlines())
    assert lines <= (60 if path.parent.name == "launch" else 250)


def test_peers_are_never_needed():
    peers = {"torch", "torchvision", "tensorflow", "keras", "monai"}
    needed = {name.split(".")[0] for name in itertools.chain.from_iterable(map(imports, SOURCES))}
    assert not needed & peers
