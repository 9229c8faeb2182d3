"""What every benchmark shares: warm medians, and one JSON line that says where and when it was taken.

Run a benchmark from the repository root, as in `python -m benchmarks.augmentation`, and on an otherwise idle machine.
"""

import datetime
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax


def measure(function: Callable[[], Any], repeats: int = 20) -> float:
    """Median seconds of `repeats` calls after one that warms up; arrays that a call returns are waited for."""
    jax.block_until_ready(function())
    return statistics.median(_seconds(function) for _ in range(repeats))


def in_turns(functions: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Median seconds of each function, all of which take turns, so that a busy machine slows them alike.

    One round warms up; arrays that a call returns are waited for.
    """
    for function in functions.values():
        jax.block_until_ready(function())
    taken = [{name: _seconds(function) for name, function in functions.items()} for _ in range(rounds)]
    return {name: statistics.median(own[name] for own in taken) for name in functions}


def report(name: str, **figures: Any) -> None:
    """Prints one JSON line: the benchmark's name, its figures, the date, the machine and the versions."""
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    versions = {"python": platform.python_version()} | {library: version(library) for library in ("jax", "numpy")}
    print(json.dumps({"benchmark": name, **figures, "date": date, "machine": machine(), "versions": versions}))


def machine() -> str:
    """The processor, its cores and JAX's devices in words, as in `AMD EPYC 7763, 2 cores; 1 x cpu`."""
    devices = jax.devices()
    return f"{_processor()}, {os.cpu_count()} cores; {len(devices)} x {devices[0].device_kind}"


def _seconds(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(function())
    return time.perf_counter() - start


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
