"""The launchers as commands of their own, as a user runs them."""

import subprocess
import sys
from collections.abc import Mapping
from typing import Any


def command(name: str, *flags: str) -> list[str]:
    """The command of a launcher."""
    return [sys.executable, "-m", f"launch.{name}", *flags]


def launch(name: str, *flags: str) -> None:
    """Runs a launcher to its end; `subprocess.CalledProcessError` unless it exits with 0."""
    subprocess.run(command(name, *flags), check=True)


def sweep_flags(workdir: Any, config: str, fields: Mapping[str, Any]) -> list[str]:
    """The flags of a sweep in `workdir`, `fields` overriding those of `config`."""
    overrides = (f"--config.{name}={value}" for name, value in fields.items())
    return [f"--config=configs/data_efficiency.py:{config}", *overrides, f"--workdir={workdir}"]
