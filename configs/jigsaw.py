r"""Jigsaw puzzles of CT slices by nine shared-weight ResNet101s, a pretext task of study A that needs no outlines.

Section 2.2: "Input slices were divided into 3x3 grids from which nine patches (per image) were extracted. [...] The
patches were then shuffled according to one of these permutations and a Siamese CNN (nine ResNet101 CNNs with shared
weights) was then trained to predict the input permutation by minimizing the cross-entropy loss across all predictions."
Figure A2 shows its curves. The paper gives neither tiles nor gaps, head, learning rate, batch, epochs or validation;
they are this project's, after Noroozi and Favaro (2016). Chance is an accuracy of 1 / num_classes: 0.02. The small
network on 150 phantom slices of 256 pixels: a validation accuracy of 0.61 after 2 epochs and 1.00 after 7.

    python -m launch.train --config=configs/jigsaw.py --config.dataset=DATASET --workdir=PRETEXT
    python -m launch.train --config=configs/segmentation.py --config.init_from=PRETEXT --config.learning_rate=3e-4 \
        --config.fresh="('(aux_)?classifier/.*',)" --config.dataset=DATASET --workdir=RUN

Config string, comma-separated:
    network=resnet101|small   small: one block a stage and a quarter of the width, for a laptop
    smoke                     a network, tiles and epochs that train in seconds
"""

from typing import Any

from ml_collections import ConfigDict

from configs import shared, strings


def get_config(text: str | None = None) -> ConfigDict:
    """The config that a config string chooses."""
    chosen = strings.parse(text, network=("resnet101", "small"), smoke=False)
    network = shared.NETWORKS["smoke" if chosen.smoke else chosen.network]
    return shared.run(
        task(network, resize=64) if chosen.smoke else task(network),
        image_size=32 if chosen.smoke else 512,
        learning_rate=3e-4,
        batch_size=8,
        epochs=2 if chosen.smoke else 500,
    )


def task(network: dict[str, Any], resize: int = 256) -> dict[str, Any]:
    """The task on a network of these sizes, such as {"stage_sizes": (3, 4, 23, 3), "width": 64}.

    A slice is resized to `resize` pixels, and its tiles have a quarter of them.
    """
    return {
        "name": "jigsaw",
        "model": {
            "name": "jigsaw_resnet101",
            "num_classes": 50,  # the permutations to tell apart
            "hidden": 64 * network["width"],  # 4096 at full width
            "dtype": "float32",  # bfloat16 computes in it; parameters, losses and statistics stay float32
            **network,
        },
        **shared.WINDOW,
        "resize": resize,  # pixels of the whole slice; a cell has a third of them, rounded down
        "tile_size": resize // 4,  # pixels; what a cell has beyond is the range of the gaps
        "criterion": "minimum",  # Hamming distance by which permutations are chosen, or "mean" as public code does
        "permutation_seed": 0,
        "freeze": (),  # regexes on whole parameter paths, as in backbone/layer1_.*
        # As for all models. A mirrored slice is no riddle: a tile's own edges tell on which side of the body it lies.
        "augmentation": dict(shared.AUGMENTATION),
    }
