"""That the processes of a team begin a run alike, which nothing would tell later: each would train weights of its own.

Each puts what it begins with in a number. All hear all numbers, and where one is not that of the first process, all
raise the same sentence, before anything is written.
"""

import json
import secrets
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from mskjax.files import remove
from mskjax.training.state import TrainState
from mskjax.training.team import ALONE, Team

SHARED = "give all the same --workdir on a shared file system"
SEEN_WITHIN_S = 90.0  # a client of NFS may believe for 60 s that a folder is not there (acdirmax)


class Other(NamedTuple):
    """`process` has told the number `own`, and the first process the number `first`."""

    process: int
    own: int
    first: int


def connected() -> Team:
    """All processes that this one is connected with; no device is looked for where there are none."""
    return Team(jax.process_index(), jax.process_count()) if jax.distributed.is_initialized() else ALONE


def other(team: Team, number: int) -> Other | None:
    """The first process that has told another number, of 32 bits, than process 0; returns once all have told theirs.

    Raises `ValueError` where one is gone.
    """
    if team.count == 1:
        return None
    try:
        first, *others = np.asarray(multihost_utils.process_allgather(np.uint32(number))).tolist()
    except ValueError as error:  # of Gloo, by which CPUs of several processes talk
        why = " ".join(str(error).split())
        raise ValueError(f"another process has failed meanwhile ({why}); start all again to go on") from error
    return next((Other(process, own, first) for process, own in enumerate(others, 1) if own != first), None)


def check_command(team: Team, config: Mapping[str, Any], workdir: Path, done: bool) -> None:
    """Raises `ValueError` unless all were given this config, but for the dataset's path, and find the run as `done`."""
    given = json.dumps({**config, "dataset": None}, sort_keys=True)
    if found := other(team, zlib.crc32(given.encode())):
        raise ValueError(f"process {found.process} was given another config than the first; start all by one command")
    if found := other(team, done):
        finds, not_so = (found.process, 0) if found.own else (0, found.process)
        raise ValueError(f"process {finds} finds {workdir} finished, and process {not_so} does not; {SHARED}")


def check_workdir(team: Team, workdir: Path) -> None:
    """Raises `ValueError` unless the folder `workdir` is the same one for all, and leaves it as it was.

    The first shows a file there under a name that it draws, and all look for it; other machines may see it late.
    """
    if team.count == 1:
        return
    drawn = np.uint32(secrets.randbits(32))
    shown = workdir / f".together.{np.asarray(multihost_utils.broadcast_one_to_all(drawn))}"
    with _shown(shown) if team.index == 0 else nullcontext():
        found = other(team, team.index == 0 or _appears(shown))
    if found:
        raise ValueError(
            f"process {found.process} does not find in its --workdir, {workdir} here, what the first has written to "
            f"its own; {SHARED}"
        )


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


@contextmanager
def _shown(path: Path) -> Iterator[None]:
    """Has a file lie at `path` while its block runs, in folders that are made for that long if they are not there.

    Those into which something else is put meanwhile stay.
    """
    made = [folder for folder in path.parents if not folder.is_dir()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    try:
        yield
    finally:
        remove(path)
        with suppress(OSError):
            for folder in made:
                folder.rmdir()


def _appears(path: Path) -> bool:
    """Whether a file is seen at `path` before long."""
    until_s, seen = time.monotonic() + SEEN_WITHIN_S, False
    while not seen and time.monotonic() < until_s:
        # Listed, as a network's file system may remember for a while that it has been asked for a name in vain.
        seen = path.parent.is_dir() and path in path.parent.iterdir()
        time.sleep(0 if seen else 0.1)
    return seen


def _digest(state: TrainState) -> int:
    digest = 0
    for leaf in jax.tree.leaves(state.replace(key=jax.random.key_data(state.key))):
        digest = zlib.crc32(np.asarray(leaf).tobytes(), digest)
    return digest
