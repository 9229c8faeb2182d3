r"""Reconstruction of CT slices by FCN-ResNet101, a pretext task of study A that needs no outlines.

Section 2.2: "We trained a randomly initialised FCN-ResNet101 to reconstruct the CT slices in the original training set
(N = 167) by minimizing the mean-squared error between the input image and the reconstructed slice." Figure A1 shows its
curves. Learning rate, batch, epochs and validation are not given; they are this project's. The small network on 150
phantom slices of 128 pixels: a validation loss of 0.89 after 1 epoch and 0.15 after 9 (their variance is 0.89).

    python -m launch.train --config=configs/reconstruction.py --config.dataset=DATASET --workdir=PRETEXT
    python -m launch.train --config=configs/segmentation.py --config.init_from=PRETEXT --config.learning_rate=3e-4 \
        --config.fresh="('(aux_)?classifier/logits/.*',)" --config.dataset=DATASET --workdir=RUN

Config string, comma-separated:
    network=fcn_resnet101|small   small: one block a stage and a quarter of the width, for a laptop
    smoke                         a network and epochs that train in seconds
"""

from typing import Any

from ml_collections import ConfigDict

from configs import shared, strings

NETWORKS = {
    "fcn_resnet101": shared.NETWORKS["resnet101"],
    "small": shared.NETWORKS["small"],
    "smoke": shared.NETWORKS["smoke"],
}


def get_config(text: str | None = None) -> ConfigDict:
    """The config that a config string chooses."""
    chosen = strings.parse(text, network=("fcn_resnet101", "small"), smoke=False)
    return shared.run(
        task(NETWORKS["smoke" if chosen.smoke else chosen.network]),
        image_size=32 if chosen.smoke else 512,
        learning_rate=3e-3,
        batch_size=8,
        epochs=2 if chosen.smoke else 500,
    )


def task(network: dict[str, Any]) -> dict[str, Any]:
    """The task on a network of these sizes, such as {"stage_sizes": (3, 4, 23, 3), "width": 64}."""
    return {
        "name": "reconstruction",
        "model": {
            "name": "fcn_resnet101",
            "num_classes": 3,  # the channels of the network's own input
            "dropout": 0.1,
            "dtype": "float32",  # bfloat16 computes in it; parameters, losses and statistics stay float32
            **network,
        },
        **shared.WINDOW,
        "freeze": (),  # regexes on whole parameter paths, as in backbone/layer1_.*
        "augmentation": dict(shared.AUGMENTATION),  # what is to be reconstructed is the augmented slice
    }
