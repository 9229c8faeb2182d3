r"""Sarcopenic or not, told from one slice at L3 by a RadImageNet network, as study B fine-tunes it.

Study B, section "Classification": DenseNet121, InceptionV3, InceptionResNetV2 and ResNet50 of RadImageNet, the last
layer replaced by a two-way softmax, under three policies of what learns beside it; Adam 5e-5, batch 8, at most 200
epochs, stopped after 20 without a lower validation loss; 54 training, 12 validation and 13 test patients. Reported is
AUC over ten such splits (Table 1), which is another config's; this one trains one network.

    python -m launch.convert --model=densenet121 --weights=RadImageNet-DenseNet121_notop.h5 \
        --output=third_party_weights/radimagenet/densenet121.safetensors
    python -m launch.train --config=configs/classification.py:network=densenet121,policy=unfreezeall \
        --config.dataset=DATASET --workdir=RUN
    python -m launch.evaluate --workdir=RUN

Config string, comma-separated:
    network=densenet121|inception_v3|inception_resnet_v2|keras_resnet50|resnet50
    policy=freezeall|unfreezetop10|unfreezeall   what learns beside the head; or regexes, by --config.task.policy
    variant=keras|torchvision                    whose form; torchvision for RadImageNet's .pt files and for resnet50
    init=radimagenet|random                      the converted weights named in the config, or fresh ones
    values=hu|grey                               CT, windowed, or bitmaps as they are
    smoke                                        small sizes and epochs that train in seconds, from fresh weights
"""

from typing import Any

from ml_collections import ConfigDict

from configs import shared, strings

NETWORKS = ("densenet121", "inception_v3", "inception_resnet_v2", "keras_resnet50", "resnet50")
POLICIES = ("unfreezeall", "unfreezetop10", "freezeall")
HEAD = ("fc/.*",)  # which no weights are taken for
# Sizes with which a network trains in seconds.
SMALL: dict[str, dict[str, Any]] = {
    "densenet121": {"stage_sizes": (1, 1, 1, 1), "width": 8},
    "inception_v3": {"width": 4},
    "inception_resnet_v2": {"width": 4},
    "keras_resnet50": {"stage_sizes": (1, 1, 1, 1), "width": 8},
    "resnet50": {"stage_sizes": (1, 1, 1, 1), "width": 8},
}
# Rotation, flip, pad and crop are study B's; their magnitudes and chances are this project's.
AUGMENTATION = {
    "flip": 0.5,
    "rotation": 0.5,
    "rotation_degrees": 20.0,
    "scaling": 0.0,
    "scale": 0.1,
    "elastic": 0.0,
    "elastic_spacing_mm": 64.0,
    "elastic_sd_mm": 5.0,
    "shift": 0.5,  # pad and crop
    "shift_mm": 20.0,  # pixels, for bitmaps, whose spacing is not known
}


def get_config(text: str | None = None) -> ConfigDict:
    """The config that a config string chooses."""
    chosen = strings.parse(
        text,
        network=NETWORKS,
        policy=POLICIES,
        variant=("", "keras", "torchvision"),
        init=("radimagenet", "random"),
        values=("hu", "grey"),
        smoke=False,
    )
    variant = chosen.variant or variant_of(chosen.network)
    pretrained = chosen.init == "radimagenet" and not chosen.smoke
    return shared.run(
        task(chosen.network, variant, chosen.policy, chosen.values, smoke=chosen.smoke),
        image_size=64 if chosen.smoke else 224,
        learning_rate=5e-5,
        batch_size=8,
        epochs=2 if chosen.smoke else 200,
        patience=20,
        stop_on="validation",
        init_from=weights(chosen.network, variant) if pretrained else "",
        fresh=HEAD if pretrained else (),
    )


def variant_of(network: str) -> str:
    """Whose form of a network study B's weights have; torchvision's ResNet50 has no other."""
    return "torchvision" if network == "resnet50" else "keras"


def weights(network: str, variant: str) -> str:
    """The file to which launch.convert is to write RadImageNet's weights of a network."""
    form = "_torchvision" if variant == "torchvision" and network != "resnet50" else ""
    return f"third_party_weights/radimagenet/{network}{form}.safetensors"


def task(network: str, variant: str, policy: str, values: str = "hu", smoke: bool = False) -> dict[str, Any]:
    """The task of telling sarcopenic from not, with one network under one policy."""
    return {
        "name": "classification",
        "model": {
            "name": network,
            "variant": variant,
            "num_classes": 2,
            "dtype": "float32",  # bfloat16 computes in it; parameters, losses and statistics stay float32
            **(SMALL[network] if smoke else {}),
        },
        # Of the weights: "own" as in study B, or what RadImageNet's authors did themselves, radimagenet_tensorflow or
        # radimagenet_pytorch.
        "preprocessing": "own",
        "values": values,  # of the dataset: "hu", or "grey" levels of bitmaps
        "window_hu": 425.0,  # study B: [-175, 250], to 0..255
        "level_hu": 37.5,
        "resize": 75 if smoke else 224,  # pixels of the network's input; the inceptions take 75 at least
        # Of the loss of healthy and sarcopenic; balanced is cases / (2 cases of the class) of the training cases.
        "class_weights": (1.0, 1.0),
        "policy": policy,
        "augmentation": dict(AUGMENTATION),
    }
