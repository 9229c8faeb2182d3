"""A sweep as an array of SLURM jobs through submitit, each of them a process with its share of the cells."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from absl import logging

from mskjax.study.settings import Config, plain
from mskjax.study.shares import Share
from mskjax.study.sweep import prepare, sweep

LOGS = "slurm"  # their folder in the study's
# submitit's own are 5 minutes, and the end after three of them; here a job goes on until its cells are done.
DEFAULTS = {"name": "mskjax", "timeout_min": 24 * 60}
TIMEOUTS = 1000


@dataclass(frozen=True)
class Task:
    """One job of the array; a job that runs into its time limit is submitted again and goes on."""

    study: dict[str, Any]
    workdir: Path
    share: Share

    def __call__(self) -> dict[str, str]:
        """Trains the share's cells; the failed ones, with why."""
        logging.set_verbosity(logging.INFO)  # of a process of submitit's, which logs warnings alone
        return sweep(self.study, self.workdir, self.share)

    def checkpoint(self) -> Any:
        """What submitit submits when SLURM takes the machine away: the same once more."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def submit(config: Config, workdir: str | Path, count: int, cluster: str, parameters: Sequence[str]) -> list[Any]:
    """Submits the sweep of a study as `count` jobs; their handles.

    `cluster` is "slurm", or "local" for processes on this machine; `parameters` are submitit's, as "name=value", among
    them slurm_partition, timeout_min (a day unless given), gpus_per_node, cpus_per_task and mem_gb. Raises `ValueError`
    where submitit or SLURM is missing or refuses a parameter, and what `sweep` raises for a study that cannot be run.
    """
    try:
        from submitit import AutoExecutor
    except ImportError:
        raise ValueError('submitit is not installed; pip install "mskjax[slurm]"') from None
    study, workdir = plain(config), Path(workdir)
    prepare(study, workdir)
    tasks = [Task(study, workdir, Share(rank, count)) for rank in range(count)]
    given, is_new = dict(map(_parameter, parameters)), not workdir.exists()
    try:
        executor = AutoExecutor(folder=workdir / LOGS, cluster=cluster, slurm_max_num_timeout=TIMEOUTS)
        executor.update_parameters(**{**DEFAULTS, **given})
        with executor.batch():
            jobs = [executor.submit(task) for task in tasks]
    except (NameError, TypeError, AssertionError, RuntimeError) as error:
        for folder in (workdir / LOGS, workdir)[: 1 + is_new]:
            with suppress(OSError):  # which submitit has made, unless there is something in it
                folder.rmdir()
        here = "; --cluster=local runs them on this machine" if cluster == "slurm" else ""
        raise ValueError(f"submitit takes no such jobs: {' '.join(str(error).splitlines()[:1])}{here}") from error
    logging.info("submitted %d jobs, %s to %s; their logs are in %s", count, *_ends(jobs), workdir / LOGS)
    return jobs


def _ends(jobs: list[Any]) -> tuple[str, str]:
    return jobs[0].job_id, jobs[-1].job_id


def _parameter(text: str) -> tuple[str, int | float | str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"job parameter {text!r} is no name=value, such as timeout_min=600")
    if value.isdecimal():
        return name, int(value)
    return name, float(value) if value.replace(".", "", 1).isdecimal() else value
