r"""Trains all networks of a study, or goes on with a study that was stopped.

    python -m launch.sweep --config=configs/data_efficiency.py --config.dataset=DATASET --workdir=STUDY
    python -m launch.sweep --config=... --workdir=STUDY --dry_run       # what it takes; --status: how far it is
    python -m launch.sweep --config=... --workdir=STUDY --share=0/2     # and elsewhere 1/2; slurm in tasks of srun
    python -m launch.sweep --config=... --workdir=STUDY --slurm_jobs=16 --slurm=slurm_partition=gpu,gpus_per_node=1

The head of each file in configs/ explains its config strings. Every device of all processes trains its own cells. The
same command goes on after a signal, Ctrl-C or a kill, but for failed cells with a file FAILED, which make exit 1.
"""

from absl import flags

from launch.config import define_config
from launch.devices import make_deterministic
from launch.main import run
from launch.multihost import EACH, FIRST, share

CONFIG = define_config()
WORKDIR = flags.DEFINE_string("workdir", None, "Study folder, made or gone on with.", required=True)
DRY_RUN = flags.DEFINE_bool("dry_run", False, "Say what the study takes, time by a measured step; train nothing.")
MEASURE = flags.DEFINE_bool("measure", True, "Whether --dry_run measures steps, which it compiles for minutes each.")
STATUS = flags.DEFINE_bool("status", False, "Say how far the study is.")
SHARE = flags.DEFINE_string("share", None, "Part of the cells for this process: RANK/COUNT, or slurm. [all]")
JOBS = flags.DEFINE_integer("slurm_jobs", None, "Submit the sweep as an array of so many jobs.", lower_bound=1)
CLUSTER = flags.DEFINE_enum("cluster", "slurm", ["slurm", "local"], "Where --slurm_jobs run.")
SLURM = flags.DEFINE_list("slurm", [], "Parameters of the jobs, as submitit names them: name=value,name=value.")


def main() -> int:
    """Trains, or tells."""
    make_deterministic()
    from mskjax.processes import tell
    from mskjax.study import dry_run, status, submission, sweep
    from mskjax.training import Interrupted

    study, failed = (CONFIG.value, WORKDIR.value), {}
    if JOBS.value and SHARE.value:
        raise ValueError("--slurm_jobs gives each job its share; leave out --share")
    try:
        if DRY_RUN.value:
            for paragraph in dry_run.dry_run(*study, MEASURE.value):
                print(f"{paragraph}\n", flush=True)
        elif STATUS.value:
            print(status.of_study(*study), end="")
        elif JOBS.value:
            submission.submit(*study, JOBS.value, CLUSTER.value, SLURM.value)
        else:
            failed = sweep.sweep(*study, share(SHARE.value))
    except Interrupted as stop:
        tell(stop)
        return stop.status
    for name, why in failed.items():
        tell(f"failed: {name}: {why}")
    return 1 if failed else 0


if __name__ == "__main__":
    run(main, lambda: FIRST if DRY_RUN.value or STATUS.value or JOBS.value else EACH)
