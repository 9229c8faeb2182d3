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
    quickstart                    two sizes, short runs and a network of an eighth of the width: minutes on a laptop
    smoke                         three initialisations, two sizes, two folds and a network that train in a minute
A named network takes the place of quickstart's and smoke's own. Networks of one block a stage learn at 3e-3 after
transfer too, ten times the paper's rate, at which they would hardly learn.
"""

from typing import Any

from ml_collections import ConfigDict

from configs import jigsaw, reconstruction, segmentation, shared, strings

# Weights, and the regexes of the layers that they lack or have for other classes; pretexts lie in the study's folder.
STARTS = {
    **segmentation.STARTS,
    "reconstruction": ("pretexts/reconstruction", ("(aux_)?classifier/logits/.*",)),
    "jigsaw": ("pretexts/jigsaw", ("(aux_)?classifier/.*",)),
}


# What differs from the whole study.
SCALES: dict[str, dict[str, Any]] = {
    "quickstart": {
        "draws": 1,
        "seeds": 1,
        "sizes": (5, 20),
        "image_size": 192,
        "batch_size": 2,
        "epochs": 40,
        "missing_weights": "skip",
    },
    "smoke": {
        "folds": 2,
        "draws": 1,
        "seeds": 1,
        "inits": ("random", "reconstruction", "jigsaw"),
        "sizes": (2, 4),
        "image_size": 32,
        "epochs": 2,
    },
}
PRETEXT_EPOCHS = {"quickstart": {"reconstruction": 40, "jigsaw": 15}, "smoke": {"reconstruction": 2, "jigsaw": 2}}


def get_config(text: str | None = None) -> ConfigDict:
    """The config that a config string chooses; every field can be overridden by --config.field=value."""
    chosen = strings.parse(text, network=("", "fcn_resnet101", "small"), quickstart=False, smoke=False)
    scale = "smoke" if chosen.smoke else "quickstart" if chosen.quickstart else ""
    named = segmentation.NETWORKS[chosen.network or "fcn_resnet101"]
    network = shared.NETWORKS[scale] if scale and not chosen.network else named
    # Section 2.4: a smaller rate after transfer.
    transferred = 3e-4 if network["stage_sizes"] == (3, 4, 23, 3) else 3e-3
    config = ConfigDict(
        {
            "study": "data_efficiency",  # the kind; launch.sweep and launch.evaluate know by it what to do
            "dataset": "",  # a folder made by launch.prepare; its split "test" is held out, all others are the cohort
            "seed": 0,
            "folds": 4,  # each validates in turn
            "draws": 2,  # of nested subsets from the other folds
            "seeds": 2,  # networks a subset
            "inits": tuple(STARTS),
            "sizes": (5, 10, 25, 50, 75, 100, 125),  # patients that train
            "slices_as_patients": False,  # True: every slice is a patient of its own, to try things out
            "pretext_validation_fraction": 0.1,  # of the cohort, for the pretexts' curves; 0: all train
            "image_size": 512,  # the authors' later code
            "task": segmentation.task(network),
            "batch_size": 4,
            "epochs": 500,
            "patience": 75,  # epochs in which neither loss has fallen
            "starts": {init: _start(init, transferred) for init in STARTS},
            "missing_weights": "refuse",  # or "skip" the initialisations whose weights are not there
            "pretexts": _pretexts(network, scale),
            "keep": "weights",  # of each cell, or its "predictions" and scores alone
            "checkpoint_minutes": 10.0,
            "devices": 0,  # each trains its own cells; 0: all
            "observers": "",  # a CSV of readers' masks: case, reader, file
            "alpha": 0.001,
            "bootstrap_samples": 2000,  # of intervals; the headline draws more where alpha needs it
            "leave_out": (),  # points that figures 4 and 5a leave out; the paper's: ("random:5",)
        }
    )
    config.update(SCALES.get(scale, {}))
    return config.lock()


def _start(init: str, transferred: float) -> dict[str, Any]:
    init_from, fresh = STARTS[init]
    return {"init_from": init_from, "fresh": fresh, "learning_rate": transferred if init_from else 3e-3}


def _pretexts(network: dict[str, Any], scale: str) -> dict[str, Any]:
    """Nothing of these is in the paper but the tasks and their losses."""
    resize = 64 if scale == "smoke" else 256
    pretexts = {
        "reconstruction": {"task": reconstruction.task(network), "learning_rate": 3e-3},
        "jigsaw": {"task": jigsaw.task(network, resize=resize), "learning_rate": 3e-4},
    }
    epochs = PRETEXT_EPOCHS.get(scale, dict.fromkeys(pretexts, 500))
    length = {"batch_size": 8, "patience": 75}
    return {name: {**pretext, **length, "epochs": epochs[name]} for name, pretext in pretexts.items()}
