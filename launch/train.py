r"""Trains a network on a dataset, or goes on with a run that was stopped.

    python -m launch.train --config=configs/segmentation.py:init=segmentation --config.dataset=DATASET --workdir=RUN
    python -m launch.train --config=configs/segmentation.py:network=small --config.dataset=DATASET --workdir=RUN \
        --config.image_size=256 --config.epochs=60 --config.task.model.dtype=bfloat16
    python -m launch.train --config=configs/segmentation.py --config.init_from=OTHER_RUN --workdir=RUN \
        --config.dataset=DATASET --config.task.freeze="('backbone/.*',)" --config.learning_rate=3e-4
    python -m launch.train --config=configs/jigsaw.py --config.dataset=DATASET --workdir=RUN
    python -m launch.train --config=configs/classification.py:network=densenet121,policy=unfreezetop10 \
        --config.dataset=DATASET --workdir=RUN
    python -m launch.train --config=configs/smit_segmentation.py --config.dataset=VOLUMES --workdir=RUN
    python -m launch.train --config=... --workdir=RUN --coordinator=HOST0:12345 --process=0 --processes=2  # 1 elsewhere

The head of each file in configs/ explains its config strings, which stand after the colon, several with commas; smoke
trains in seconds. The file lists its fields, which --config.FIELD=VALUE sets.
The run folder holds metrics.jsonl, loss_curves.png, checkpoints/ and best/variables.safetensors, and DONE at the end.
The same command goes on with a stopped run and skips a finished one. SIGTERM, Ctrl-C and a closed terminal (SIGHUP,
unless by nohup) save a checkpoint and the best weights so far at the next step and exit with 143, 130 and 129. SLURM,
Open MPI and TPU pods tell their processes; docs/pods.md explains, and --config.batch_norm and --config.split_from for
many devices.
"""

from absl import flags

from launch.config import define_config
from launch.devices import make_deterministic
from launch.main import run
from launch.multihost import TOGETHER

CONFIG = define_config()
WORKDIR = flags.DEFINE_string("workdir", None, "Run folder, made or gone on with.", required=True)


def main() -> int:
    r"""Trains."""
    make_deterministic()
    import jax

    from mskjax.processes import tell
    from mskjax.training import Interrupted, train

    try:
        train(CONFIG.value, WORKDIR.value)
    except Interrupted as stop:
        if not jax.process_index():  # all stop at the same step, and the first tells
            tell(stop)
        return stop.status
    return 0


if __name__ == "__main__":
    run(main, lambda: TOGETHER)
