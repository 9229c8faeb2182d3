r"""Muscle in volumes, by the student of a pretrained SMIT, as study B fine-tunes it.

Study B, section "Self-supervised": 79 scans outlined at L3 alone, resampled to 1.5 x 1.5 x 2.0 mm, HU [-175, 250] as
[0, 1], four crops of 96^3 a scan; AdamW at 1e-4 with weight decay 1e-5, 200 epochs, a checkpoint every 30. Table 3, ten
shuffles: mean Dice 0.87 to 0.98, mean area difference -3 to 10 %; that is configs/sarcopenia_segmentation.py, and this
config trains one network.

    python -m launch.prepare --images=SCANS --masks=OUTLINES --spacing_mm=1.5,1.5,2 --output=DATASET
    python -m launch.convert --model=smit_encoder --weights=pre_train_weight.pt \
        --output=third_party_weights/smit_encoder.safetensors
    python -m launch.train --config=configs/smit_segmentation.py --config.dataset=DATASET --workdir=RUN
    python -m launch.evaluate --workdir=RUN
    python -m launch.measure --image=SERIES --run=RUN --slice=25 --sex=F --output=DIR

Config string, comma-separated:
    init=smit|random       the converted weights named in the config, or fresh ones, with which small and smoke begin;
                           --config.init_from=RUN takes those of your own pretraining by configs/smit_pretraining.py
    schedule=constant|official   a constant rate, or 50 epochs of warm-up and a cosine to 0, as the published code has
    small                  a quarter of the width, one block a stage, crops of 32^3 at a higher rate, for phantoms on a
                           laptop
    smoke                  a network and epochs that train in seconds
"""

from typing import Any

from ml_collections import ConfigDict

from configs import shared, strings

WEIGHTS = "third_party_weights/smit_encoder.safetensors"
FRESH = ("decoder/.*",)  # which no pretraining has
# Those that begin with no released weights put the windows' positions back where they were.
NETWORKS: dict[str, dict[str, Any]] = {
    "": {},
    "small": {"stage_sizes": (1, 1, 1, 1), "width": 12, "joining": "inverse"},
    "smoke": {"stage_sizes": (1, 1, 1, 1), "width": 4, "joining": "inverse"},
}
# Rotation, flip, pad and crop in three dimensions are study B's; their magnitudes and chances are this project's.
AUGMENTATION = {
    "flip": 0.5,  # left and right
    "rotation": 0.5,
    "rotation_degrees": 15.0,  # about the long axis
    "tilt_degrees": 5.0,  # about the two others
    "scaling": 0.0,
    "scale": 0.1,
    "shift": 0.5,  # pad and crop
    "shift_mm": 10.0,
}


def get_config(text: str | None = None) -> ConfigDict:
    """The config that a config string chooses."""
    chosen = strings.parse(
        text, init=("", "smit", "random"), schedule=("constant", "official"), small=False, smoke=False
    )
    scale = "smoke" if chosen.smoke else "small" if chosen.small else ""
    official = chosen.schedule == "official"
    pretrained = chosen.init == "smit" or not (chosen.init or scale)
    return shared.run(
        task(scale),
        image_size=32 if scale else 96,
        learning_rate=1e-3 if scale else 1e-4,
        batch_size=4,
        epochs={"": 200, "small": 60, "smoke": 2}[scale],
        patience=200,  # study B stops no training early
        stop_on="validation",
        init_from=WEIGHTS if pretrained else "",
        fresh=FRESH,
        **VOLUMES,
        weight_decay=1e-5,
        warmup_epochs=50 if official else 0,
        decay="cosine" if official else "constant",
        keep_epochs=30,
    )


# Fields of runs that see volumes.
VOLUMES = {
    "spacing_mm": (1.5, 1.5, 2.0),  # of the dataset, along i, j, k: right-left, back-front, feet-head
    "crops_per_scan": 4,
    "overlap": 0.5,  # of the windows of a prediction
}


def task(scale: str = "") -> dict[str, Any]:
    """The task on a network of `NETWORKS`."""
    return {
        "name": "volume_segmentation",
        "model": {
            "name": "smit_segmenter",
            "num_classes": 2,
            "drop_path": 0.3,
            "joining": "official",  # how windows are put together again; see docs/smit.md
            "remat": False,  # True computes blocks again for the gradient, which saves their memory
            "dtype": "float32",  # bfloat16 computes in it; parameters, losses and statistics stay float32
            **NETWORKS[scale],
        },
        "window_hu": 425.0,  # [-175, 250]
        "level_hu": 37.5,
        "freeze": (),  # regexes on whole parameter paths, as in backbone/.*
        "augmentation": dict(AUGMENTATION),
    }
