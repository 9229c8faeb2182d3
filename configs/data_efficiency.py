"""Which pretraining lets few outlines do the work of many: the 560 networks of study A.

McSweeney et al., "Transfer learning for data-efficient abdominal muscle segmentation with convolutional neural
networks", Med. Phys. 2022. Table 1: after COCO segmentation, ImageNet classification or the jigsaw pretext, networks
fine-tuned on 10 outlines are not significantly different from ten trained readers in DSC and RMS-DTA; from random
weights or the reconstruction pretext that takes 25, and earlier networks took 160. Readers: DSC 0.901, 0.318 cm.

    python -m launch.sweep --config=configs/data_efficiency.py --config.dataset=DATASET --workdir=STUDY --dry_run
    python -m launch.sweep --config=configs/data_efficiency.py --config.dataset=DATASET --workdir=STUDY
    python -m launch.evaluate --workdir=STUDY

Hours: at most some 60 of an A100 in bfloat16 if no cell stops early, by counting operations at 40 % of the device's
peak, not measured; --dry_run measures a step on the machine at hand and tells its own estimate.

Config string, comma-separated:
    network=fcn_resnet101|small   small: one block a stage and a quarter of the width, for a laptop
    smoke                         three initialisations, two sizes, two folds and a network that train in a minute
"""

from typing import Any

from ml_collections import ConfigDict

from configs import jigsaw, reconstruction, segmentation, strings

# Weights, and the regexes of the layers that they lack or have for other classes; pretexts lie in the study's folder.
STARTS = {
    **segmentation.STARTS,
    "reconstruction": ("pretexts/reconstruction", ("(aux_)?classifier/logits/.*",)),
    "jigsaw": ("pretexts/jigsaw", ("(aux_)?classifier/.*",)),
}


def get_config(text: str | None = None) -> ConfigDict:
    """The config that a config string chooses; every field can be overridden by --config.field=value."""
    chosen = strings.parse(text, network=("fcn_resnet101", "small"), smoke=False)
    network = segmentation.NETWORKS["smoke" if chosen.smoke else chosen.network]
    return ConfigDict(
        {
            "dataset": "",  # a folder made by launch.prepare; its split "test" is held out, all others are the cohort
            "seed": 0,
            "folds": 2 if chosen.smoke else 4,  # each validates in turn
            "draws": 1 if chosen.smoke else 2,  # of nested subsets from the other folds
            "seeds": 1 if chosen.smoke else 2,  # networks a subset
            "inits": ("random", "reconstruction", "jigsaw") if chosen.smoke else tuple(STARTS),
            "sizes": (2, 4) if chosen.smoke else (5, 10, 25, 50, 75, 100, 125),  # patients that train
            "slices_as_patients": False,  # True: every slice is a patient of its own, to try things out
            "pretext_validation_fraction": 0.1,  # of the cohort, for the pretexts' curves; 0: all train
            "image_size": 32 if chosen.smoke else 512,  # the authors' later code
            "task": segmentation.task(network),
            "batch_size": 4,
            "epochs": 2 if chosen.smoke else 500,
            "patience": 75,  # epochs in which neither loss has fallen
            "starts": {init: _start(init) for init in STARTS},
            "missing_weights": "refuse",  # or "skip" the initialisations whose weights are not there
            "pretexts": _pretexts(network, chosen.smoke),
            "keep": "weights",  # of each cell, or its "predictions" and scores alone
            "checkpoint_minutes": 10.0,
            "devices": 0,  # each trains its own cells; 0: all
            "observers": "",  # a CSV of readers' masks: case_id, reader, mask
            "alpha": 0.001,
            "bootstrap_samples": 20000,
            "leave_out": ("random:5",),  # points that figures 4 and 5a leave out, as in the paper
        }
    ).lock()


def _start(init: str) -> dict[str, Any]:
    init_from, fresh = STARTS[init]
    # Section 2.4: a smaller rate after transfer.
    return {"init_from": init_from, "fresh": fresh, "learning_rate": 3e-4 if init_from else 3e-3}


def _pretexts(network: dict[str, Any], is_smoke: bool) -> dict[str, Any]:
    """Nothing of these is in the paper but the tasks and their losses."""
    length = {"batch_size": 8, "epochs": 2 if is_smoke else 500, "patience": 75}
    return {
        "reconstruction": {"task": reconstruction.task(network), "learning_rate": 3e-3, **length},
        "jigsaw": {"task": jigsaw.task(network, resize=64 if is_smoke else 256), "learning_rate": 3e-4, **length},
    }
