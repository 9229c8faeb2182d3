r"""Trains all networks of a study, or goes on with a study that was stopped.

    python -m launch.sweep --config=configs/data_efficiency.py --config.dataset=DATASET --workdir=STUDY --dry_run
    python -m launch.sweep --config=configs/data_efficiency.py --config.dataset=DATASET --workdir=STUDY
    python -m launch.sweep --config=... --workdir=STUDY --status
    python -m launch.sweep --config=... --workdir=STUDY --share=0/2     # and elsewhere --share=1/2
    srun -n 16 python -m launch.sweep --config=... --workdir=STUDY --share=slurm
    python -m launch.sweep --config=... --workdir=STUDY --slurm_jobs=16 --slurm=slurm_partition=gpu,gpus_per_node=1

Every device trains cells of its own; processes share the folder and nothing else. The same command goes on with a
stopped study and skips the cells that are done; one that has failed is tried again once its file FAILED is deleted.
SIGTERM and Ctrl-C save all cells under way. Exit 1: some cells have failed. Results: python -m launch.evaluate.
"""

import sys

from absl import flags

from launch.config import define_config
from launch.devices import make_deterministic
from launch.main import run

CONFIG = define_config()
WORKDIR = flags.DEFINE_string("workdir", None, "Study folder, made or gone on with.", required=True)
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Say what the study takes, time by a measured step; train nothing.")
STATUS = flags.DEFINE_bool("status", False, "Say how far the study is.")
SHARE = flags.DEFINE_string("share", None, "Part of the cells for this process: RANK/COUNT, or slurm. [all]")
JOBS = flags.DEFINE_integer("slurm_jobs", None, "Submit the sweep as an array of so many jobs.", lower_bound=1)
CLUSTER = flags.DEFINE_enum("cluster", "slurm", ["slurm", "local"], "Where --slurm_jobs run.")
SLURM = flags.DEFINE_list("slurm", [], "Parameters of the jobs, as submitit names them: name=value,name=value.")


def main() -> int:
    """Trains, or tells."""
    make_deterministic()
    from mskjax.study import dry_run, shares, status, submission, sweep
    from mskjax.training import Interrupted

    study = CONFIG.value, WORKDIR.value
    if DRY_RUN.value or STATUS.value:
        print((dry_run.dry_run if DRY_RUN.value else status.of_study)(*study), end="")
        return 0
    if JOBS.value:
        if SHARE.value:
            raise ValueError("--slurm_jobs gives each job its share; leave out --share")
        submission.submit(*study, JOBS.value, CLUSTER.value, SLURM.value)
        return 0
    try:
        failed = sweep.sweep(*study, shares.parse(SHARE.value))
    except Interrupted as stop:
        print(stop, file=sys.stderr)
        return stop.status
    for name, why in failed.items():
        print(f"failed: {name}: {why}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    run(main)
