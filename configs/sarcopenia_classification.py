r"""Sarcopenic or not, from four RadImageNet networks under three policies: the 120 cells of study B's first half.

"Classification" of study B: DenseNet121, InceptionV3, InceptionResNetV2 and ResNet50, each with all layers frozen, with
the last ten learning, and with all learning, on ten stratified shuffles of 79 patients (54 train, 12 validate, 13
test). Table 1, mean AUC over the ten: 0.88 for InceptionV3 and DenseNet121 with all layers learning, 0.73 for ResNet50
with all frozen.

    python -m launch.convert --model=densenet121 --weights=RadImageNet-DenseNet121_notop.h5 \
        --output=third_party_weights/radimagenet/densenet121.safetensors     # and the three others
    python -m launch.sweep --config=configs/sarcopenia_classification.py --config.dataset=DATASET --workdir=STUDY
    python -m launch.evaluate --workdir=STUDY

Config string, comma-separated:
    init=radimagenet|random   the converted weights named in the config, or fresh ones
    values=hu|grey            CT, windowed, or bitmaps as they are
    small                     small DenseNet and ResNet from fresh weights at a higher rate, for phantoms on a laptop
    smoke                     two networks, two policies and two shuffles that train in seconds
"""

from typing import Any

from ml_collections import ConfigDict

from configs import classification, strings

NETWORKS = ("inception_v3", "densenet121", "keras_resnet50", "inception_resnet_v2")
# What differs from the whole study.
SCALES: dict[str, dict[str, Any]] = {
    "small": {
        "networks": ("densenet121", "keras_resnet50"),
        "shuffles": 10,
        "image_size": 96,
        "learning_rate": 1e-3,
        "epochs": 40,
    },
    "smoke": {
        "networks": ("densenet121", "keras_resnet50"),
        "policies": ("unfreezeall", "freezeall"),
        "shuffles": 2,
        "image_size": 32,
        "epochs": 2,
    },
}


def get_config(text: str | None = None) -> ConfigDict:
    """The config that a config string chooses; every field can be overridden by --config.field=value."""
    chosen = strings.parse(text, init=("radimagenet", "random"), values=("hu", "grey"), small=False, smoke=False)
    scale = "smoke" if chosen.smoke else "small" if chosen.small else ""
    pretrained = chosen.init == "radimagenet" and not scale
    config = ConfigDict(
        {
            "study": "sarcopenia_classification",  # the kind; launch.sweep and launch.evaluate know by it what to do
            "dataset": "",  # a folder made by launch.prepare, with labels; its splits play no role
            "seed": 0,
            "networks": NETWORKS,
            "policies": classification.POLICIES,
            "shuffles": 10,  # each of all patients
            "validation_fraction": 12 / 79,  # of the patients of each class, rounded
            "test_fraction": 13 / 79,
            "stratify": "label",  # or "label_and_sex", which shares out patients by sex too
            "image_size": 224,
            "task": _common(chosen.values, bool(scale)),
            "models": {name: _model(name, pretrained, bool(scale)) for name in NETWORKS},
            "learning_rate": 5e-5,
            "batch_size": 8,
            "epochs": 200,
            "patience": 20,  # epochs in which the validation loss has not fallen
            "stop_on": "validation",  # or "both": when the training loss is flat too
            "missing_weights": "refuse",  # or "skip" the networks whose weights are not there
            "keep": "weights",  # of each cell, or its "predictions" alone
            "checkpoint_minutes": 10.0,
            "devices": 0,  # each trains its own cells; 0: all
            "bootstrap_samples": 2000,  # of intervals
            "calibration_bins": 5,
        }
    )
    config.update(SCALES.get(scale, {}))
    return config.lock()


def _common(values: str, reduced: bool) -> dict[str, Any]:
    """The fields of the task that all networks and policies share."""
    whole = classification.task(NETWORKS[0], "keras", "unfreezeall", values, reduced)
    return {name: value for name, value in whole.items() if name not in ("model", "policy")}


def _model(network: str, pretrained: bool, reduced: bool) -> dict[str, Any]:
    whole = classification.task(network, "keras", "unfreezeall", smoke=reduced)
    return {
        "task": {"model": whole["model"]},
        "init_from": classification.weights(network, "keras") if pretrained else "",
        "fresh": classification.HEAD if pretrained else (),
    }
