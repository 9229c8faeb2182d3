r"""SMIT's pretraining by masked self-distillation on unlabelled CT (Jiang et al. 2022), as its code has it.

The-Veeraraghavan-Lab/SMIT: scans at 2 mm, HU [-175, 250] as [0, 1], two crops of 96^3 from one of 128^3, 70 % of the
16^3 blocks masked; AdamW at 6e-4 with weight decay 0.01, 20 epochs of warm-up and a cosine to 0 over 500, batch 6. The
paper says 3,643 scans, 2e-4, 400 epochs, 30 of warm-up and dropped blocks 0.1: `paper` has these.

    python -m launch.prepare --images=SCANS --spacing_mm=2,2,2 --validation_fraction=0.05 --test_fraction=0 \
        --output=DATASET
    python -m launch.train --config=configs/smit_pretraining.py --config.dataset=DATASET --workdir=RUN
    python -m launch.train --config=configs/smit_segmentation.py --config.init_from=RUN --config.dataset=OUTLINED \
        --workdir=RUN2

metrics.jsonl has, of the validation scans, the three parts of the loss (patch, image, reconstruction), how far the
teacher lags behind the student, and target_information and feature_spread, which fall to 0 if tokens collapse. The
last weights are kept.

Config string, comma-separated:
    paper      what the paper says, where the code says otherwise
    official   both faults of the code too: a momentum that hardly rises, and a teacher that begins at random
    small      a quarter of the width, one block a stage and crops of 32^3, for phantoms on a laptop: a shorter training
               with no blocks dropped, at a higher rate and with a teacher that follows sooner
    smoke      a network and epochs that train in seconds
"""

from typing import Any

from ml_collections import ConfigDict

from configs import shared, smit_segmentation, strings


def get_config(text: str | None = None) -> ConfigDict:
    """The config that a config string chooses."""
    chosen = strings.parse(text, paper=False, official=False, small=False, smoke=False)
    scale = "smoke" if chosen.smoke else "small" if chosen.small else ""
    epochs = {"": 400 if chosen.paper else 500, "small": 150, "smoke": 2}[scale]
    return shared.run(
        task(scale, drop_path=0.0 if scale else 0.1 if chosen.paper else 0.3, official=chosen.official),
        image_size=32 if scale else 96,
        learning_rate=2e-3 if scale else 2e-4 if chosen.paper else 6e-4,
        batch_size=2 if scale else 6,  # scans, each seen twice
        epochs=epochs,
        patience=epochs,
        **{**smit_segmentation.VOLUMES, "spacing_mm": (2.0, 2.0, 2.0), "crops_per_scan": 4 if scale else 1},
        weight_decay=0.01,
        warmup_epochs={"": 30 if chosen.paper else 20, "small": 5, "smoke": 1}[scale],
        decay="cosine",
        keep_epochs=0,  # or how often a checkpoint is kept for good
    )


def task(scale: str = "", drop_path: float = 0.3, official: bool = False) -> dict[str, Any]:
    """The task on a network of `smit_segmentation.NETWORKS`."""
    reduced = {"prototypes": 64, "hidden": 64} if scale else {}
    return {
        "name": "self_distillation",
        "model": {
            "name": "smit_pretrainer",
            "drop_path": drop_path,
            "shared_head": False,  # True: one head for patches and image
            "joining": "official",  # how windows are put together again; see docs/smit.md
            "remat": False,  # True computes blocks again for the gradient, which saves their memory
            "dtype": "float32",  # bfloat16 computes in it; parameters, losses and the heads stay float32
            **smit_segmentation.NETWORKS[scale],
            **reduced,
        },
        "window_hu": 425.0,  # [-175, 250]
        "level_hu": 37.5,
        "patch_weight": 0.1,
        "image_weight": 0.1,
        "momentum": 0.99 if scale else 0.996,  # of the teacher at the start; it rises to 1
        "warming_epochs": 30,  # of the teacher's temperature for images; that for patches rises after them
        "ema": "official" if official else "fixed",
        "teacher_init": "official" if official else "student",
        "freeze": ("backbone/norm[0-3]/.*",),  # norms of what segmenters take: no gradient reaches them, decay would
    }
