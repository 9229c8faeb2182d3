"""Where the libraries are that benchmarks compare with: in this program's environment, or in others of its user's."""

import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

ASK = "import sysconfig; print(sysconfig.get_path('purelib'))"


@dataclass(frozen=True)
class Environment:
    """A Python, the folder of its packages, and the version of each by its name on PyPI."""

    python: str
    packages: str
    versions: Mapping[str, str]


def environments(given: str) -> list[Environment]:
    """This program's own environment, then the `given` ones: Pythons or folders of packages, with commas between.

    Raises `ValueError` for a name that is neither.
    """
    own = Environment(sys.executable, sysconfig.get_path("purelib"), _versions(metadata.distributions()))
    return [own, *(_environment(name) for name in given.split(",") if name)]


def home_of(needs: Iterable[str], among: Iterable[Environment]) -> Environment | None:
    """The first environment that has all the packages that are needed; None where none has."""
    needs = set(needs)
    return next((one for one in among if needs <= one.versions.keys()), None)


def _environment(name: str) -> Environment:
    if Path(name).is_dir():
        return Environment(sys.executable, name, _versions(metadata.distributions(path=[name])))
    try:
        packages = subprocess.run([name, "-c", ASK], check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        raise ValueError(f"{name} is no Python and no folder of packages ({error}); correct --peers") from error
    return Environment(name, packages, _versions(metadata.distributions(path=[packages])))


def _versions(distributions: Iterable[metadata.Distribution]) -> dict[str, str]:
    named = ((one.metadata["Name"], one.version) for one in distributions)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in named if name}
