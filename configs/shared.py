"""What the configs of study A share: networks by their size, the window, the augmentation, and a run's fields."""

from collections.abc import Sequence
from typing import Any

from ml_collections import ConfigDict

NETWORKS = {
    "resnet101": {"stage_sizes": (3, 4, 23, 3), "width": 64},
    "small": {"stage_sizes": (1, 1, 1, 1), "width": 16},
    "quickstart": {"stage_sizes": (1, 1, 1, 1), "width": 8},
    "smoke": {"stage_sizes": (1, 1, 1, 1), "width": 4},
}
WINDOW = {"window_hu": 400.0, "level_hu": 50.0}  # section 2.1
# Applied "in an identical manner for all models" (section 2.4), and so in pretraining too.
AUGMENTATION = {
    "flip": 0.5,  # probabilities of each
    "rotation": 0.5,
    "rotation_degrees": 20.0,  # section 2.4; the other magnitudes are this project's
    "scaling": 0.5,
    "scale": 0.1,
    "elastic": 0.5,
    "elastic_spacing_mm": 64.0,
    "elastic_sd_mm": 5.0,
}


def run(
    task: dict[str, Any],
    *,
    image_size: int,
    learning_rate: float,
    batch_size: int,
    epochs: int,
    patience: int = 75,
    stop_on: str = "both",
    init_from: str = "",
    fresh: Sequence[str] = (),
    **others: Any,
) -> ConfigDict:
    """The config of a run of launch.train; every field can be overridden by --config.field=value.

    `others` are fields that not every run has.
    """
    return ConfigDict(
        {
            "dataset": "",  # a folder made by launch.prepare
            "seed": 0,
            "image_size": image_size,
            "task": task,
            "init_from": init_from,  # a file made by launch.convert, or the folder of a finished run
            "fresh": tuple(fresh),
            "resume": "",  # the folder of another run to go on from, with its optimiser and its counters
            "learning_rate": learning_rate,
            "batch_size": batch_size,
            "epochs": epochs,
            "patience": patience,  # epochs
            "stop_on": stop_on,  # "both": when neither loss has fallen for so long; "validation": when that has not
            "checkpoint_minutes": 10.0,
            "devices": 0,  # 0: as many as the batch can be split over evenly
            "batch_norm": "global",  # moments of the whole batch; "device": of the part that each device has
            "split_from": 0,  # elements of a parameter from which on it is split over the devices; 0: none is
            **others,
        }
    ).lock()
