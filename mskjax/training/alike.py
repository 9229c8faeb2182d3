"""That the processes of a team begin a run alike, which nothing would tell later: each would train weights of its own.

Each puts what it begins with in a number. All hear all numbers, and where one is not that of the first process, all
raise the same sentence, before anything is written.
"""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from mskjax.training.state import TrainState
from mskjax.training.team import ALONE, Team

SHARED = "give all the same --workdir on a shared file system"


class Other(NamedTuple):
    """`process` has told the number `own`, and the first process the number `first`."""

    process: int
    own: int
    first: int


def connected() -> Team:
    """All processes that this one is connected with; no device is looked for where there are none."""
    return Team(jax.process_index(), jax.process_count()) if jax.distributed.is_initialized() else ALONE


def other(team: Team, number: int) -> Other | None:
    """The first process that has told another number, of 32 bits, than process 0; returns once all have told theirs."""
    if team.count == 1:
        return None
    first, *others = np.asarray(multihost_utils.process_allgather(np.uint32(number))).tolist()
    return next((Other(process, own, first) for process, own in enumerate(others, 1) if own != first), None)


def check_command(team: Team, config: Mapping[str, Any], workdir: Path, done: bool) -> None:
    """Raises `ValueError` unless all were given this config, but for the dataset's path, and find the run as `done`."""
    given = json.dumps({**config, "dataset": None}, sort_keys=True)
    if found := other(team, zlib.crc32(given.encode())):
        raise ValueError(f"process {found.process} was given another config than the first; start all by one command")
    if found := other(team, done):
        finds, not_so = (found.process, 0) if found.own else (0, found.process)
        raise ValueError(f"process {finds} finds {workdir} finished, and process {not_so} does not; {SHARED}")


def check_dataset(team: Team, path: str, sha256: Mapping[str, str]) -> None:
    """Raises `ValueError` unless the dataset has the same digests for all."""
    if found := other(team, zlib.crc32(json.dumps(sha256, sort_keys=True).encode())):
        raise ValueError(
            f"process {found.process} reads another dataset than the first, which is {path} here; give all the same, "
            "on a shared file system"
        )


def check_start(team: Team, workdir: Path, state: TrainState) -> None:
    """Raises `ValueError` unless all begin at the same step with every number of the state the same."""
    if found := other(team, int(state.step)):
        raise ValueError(
            f"process {found.process} would begin at step {found.own} of {workdir} and the first at {found.first}; "
            f"{SHARED}"
        )
    if found := other(team, _digest(state) if team.count > 1 else 0):
        raise ValueError(
            f"process {found.process} would begin {workdir} with other weights than the first, both at step "
            f"{int(state.step)}; let all read the same files, on machines of one kind"
        )


def _digest(state: TrainState) -> int:
    digest = 0
    for leaf in jax.tree.leaves(state.replace(key=jax.random.key_data(state.key))):
        digest = zlib.crc32(np.asarray(leaf).tobytes(), digest)
    return digest
