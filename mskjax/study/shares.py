"""Which part of a study's work a process does, of several that share the study's folder and nothing else."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Share:
    """The part of process number `rank`, from 0, of `count`."""

    rank: int = 0
    count: int = 1

    def __post_init__(self):
        if self.count < 1:
            raise ValueError(f"share {self.rank}/{self.count} is none; COUNT of RANK/COUNT is 1 or more")
        if not 0 <= self.rank < self.count:
            raise ValueError(f"share {self.rank}/{self.count} is none; the first of {self.count} is 0/{self.count}")

    def of(self, items: Sequence[Any]) -> list[Any]:
        """This process's part of a list; the ranks take turns in being first, as lists repeat what is alike."""
        return [item for place, item in enumerate(items) if (place + place // self.count) % self.count == self.rank]


WHOLE = Share()


def parse(text: str, environment: Mapping[str, str] = os.environ) -> Share:
    """The share of "RANK/COUNT", or with "slurm" of this task of a job step or of this job of an array.

    SLURM is only asked where the user says so: its variables are also set in shells that run one process alone.
    """
    if text == "slurm":
        return _of_slurm(environment)
    try:
        rank, count = map(int, text.split("/"))
    except ValueError:
        raise ValueError(f"share {text!r} is neither RANK/COUNT, such as 0/8, nor slurm") from None
    return Share(rank, count)


def _of_slurm(environment: Mapping[str, str]) -> Share:
    def number(name: str, absent: int) -> int:
        return int(environment.get(f"SLURM_{name}", absent))

    # Not NTASKS, which a job's own script has too, where it is one process however many tasks srun would start.
    tasks, jobs = number("STEP_NUM_TASKS", 1), number("ARRAY_TASK_COUNT", 1)
    if not environment.get("SLURM_JOB_ID"):
        raise ValueError("there is no SLURM job (SLURM_JOB_ID is not set); give the share as RANK/COUNT")
    job = (number("ARRAY_TASK_ID", 0) - number("ARRAY_TASK_MIN", 0)) // number("ARRAY_TASK_STEP", 1)
    return Share(job * tasks + number("PROCID", 0), jobs * tasks)
