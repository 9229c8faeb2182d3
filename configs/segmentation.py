"""Muscle segmentation at L3 by FCN-ResNet101, as study A fine-tunes it.

McSweeney et al., "Transfer learning for data-efficient abdominal muscle segmentation with convolutional neural
networks", Med. Phys. 2022. Table 1, ten readers against one expert: DSC 0.901, RMS-DTA 0.318 cm; a network is as good
from the number of outlines on that `launch.evaluate` finds for each initialisation.

    python -m launch.train --config=configs/segmentation.py:init=segmentation --config.dataset=DATASET --workdir=RUN

Config string, comma-separated:
    init=random|classification|segmentation   fresh weights, ImageNet ResNet101, COCO FCN-ResNet101
    network=fcn_resnet101|small               small: one block a stage and a quarter of the width, for a laptop
    smoke                                     a network and epochs that train in seconds
"""

from typing import Any

from ml_collections import ConfigDict

from configs import shared, strings

NETWORKS = {
    "fcn_resnet101": shared.NETWORKS["resnet101"],
    "small": shared.NETWORKS["small"],
    "smoke": shared.NETWORKS["smoke"],
}
# The weights that launch.convert makes, and the regexes of the layers that they lack or have for other classes.
STARTS = {
    "random": ("", ()),
    "classification": ("third_party_weights/resnet101.safetensors", ("(aux_)?classifier/.*",)),
    "segmentation": ("third_party_weights/fcn_resnet101.safetensors", ("(aux_)?classifier/logits/.*",)),
}


def get_config(text: str | None = None) -> ConfigDict:
    """The config that a config string chooses."""
    chosen = strings.parse(text, init=tuple(STARTS), network=("fcn_resnet101", "small"), smoke=False)
    init_from, fresh = STARTS[chosen.init]
    return shared.run(
        task(NETWORKS["smoke" if chosen.smoke else chosen.network]),
        image_size=32 if chosen.smoke else 512,  # the authors' later code
        learning_rate=3e-3 if chosen.init == "random" else 3e-4,  # section 2.4
        batch_size=4,
        epochs=2 if chosen.smoke else 500,
        init_from=init_from,
        fresh=fresh,
    )


def task(network: dict[str, Any]) -> dict[str, Any]:
    """The task on a network of these sizes, such as {"stage_sizes": (3, 4, 23, 3), "width": 64}."""
    return {
        "name": "segmentation",
        "model": {
            "name": "fcn_resnet101",
            "num_classes": 1,
            "aux_head": False,
            "dropout": 0.1,
            "dtype": "float32",  # bfloat16 computes in it; parameters, losses and statistics stay float32
            **network,
        },
        **shared.WINDOW,
        "smoothing": 1.0,  # pixels, of the soft Dice
        "aux_weight": 0.5,  # of the auxiliary head's loss, where there is one
        "freeze": (),  # regexes on whole parameter paths, as in backbone/layer1_.*
        "augmentation": dict(shared.AUGMENTATION),
    }
