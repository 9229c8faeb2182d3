"""What benchmarks of studies share: the launchers as commands of their own, as a user runs them, and mean scores."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd


def command(name: str, *flags: str) -> list[str]:
    """The command of a launcher."""
    return [sys.executable, "-m", f"launch.{name}", *flags]


def launch(name: str, *flags: str) -> None:
    """Runs a launcher to its end; `subprocess.CalledProcessError` unless it exits with 0."""
    subprocess.run(command(name, *flags), check=True)


def sweep_flags(workdir: Path, text: str, fields: Mapping[str, Any], config: str = "data_efficiency") -> list[str]:
    """The flags of a sweep in `workdir` by a config and its config string, some of its fields overridden."""
    overrides = (f"--config.{name}={value}" for name, value in fields.items())
    return [f"--config=configs/{config}.py:{text}", *overrides, f"--workdir={workdir}"]


def dice_means(study: Path) -> dict[str, dict[str, float]]:
    """The mean Dice of the test slices for every initialisation and n of an evaluated study."""
    cases = pd.read_csv(study / "evaluation" / "cases.csv")
    networks = cases.loc[cases["n"].notna()].groupby(["n", "init"], as_index=False)["dice"].mean()
    found: dict[str, dict[str, float]] = {}
    for n, init, dice in networks.itertuples(index=False, name=None):
        found.setdefault(f"n={n:.0f}", {})[init] = round(dice, 3)
    return found
