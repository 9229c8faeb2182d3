"""A process of two that train a run on volumes together, and then are to begin others that they do not see alike.

python tests/training/volumes_of_a_team.py FOLDER PORT INDEX
"""

import json
import sys
from pathlib import Path
from typing import ClassVar
from unittest.mock import patch

import jax.numpy as jnp
import volume_cohort

from configs import smit_segmentation
from mskjax import tasks
from mskjax.processes import Start, connect
from mskjax.tasks.losses import dice_cross_entropy
from mskjax.tasks.volume_segmentation import VolumeSegmentation


class Threshold(VolumeSegmentation):
    """Study B's fine-tuning with four numbers in the place of the network, which compile at once."""

    bias: ClassVar[float] = 0.0

    def init(self, key, batch):
        return {"head": {"kernel": jnp.zeros((1, 2)), "bias": jnp.full(2, self.bias)}}, {}

    def loss(self, params, model_state, batch, key):
        return self.evaluate(params, model_state, batch)["loss"].mean(), (model_state, {})

    def evaluate(self, params, model_state, batch):
        assert len(batch["image_hu"]) == 4, "each process reads its part of a batch"
        logits = self.normalise(batch["image_hu"]) @ params["head"]["kernel"] + params["head"]["bias"]
        return {"loss": dice_cross_entropy(logits, batch["label"])}


def learn(volumes, workdir, **changes):
    """Three epochs of two steps of four crops, on as many devices as there are."""
    from mskjax.training import train

    config = smit_segmentation.get_config("smoke")
    config.update({"dataset": str(volumes), "spacing_mm": volume_cohort.SPACING_MM, "crops_per_scan": 2, "epochs": 3})
    config.update(changes)
    build = tasks.build
    with patch.object(tasks, "build", lambda config: Threshold(**vars(build(config)))):
        train(config, workdir)


def refusal(*arguments, **changes):
    """Why this process would not learn."""
    try:
        learn(*arguments, **changes)
    except ValueError as error:
        return str(error)
    return None


def main(folder: str, port: str, index: str) -> None:
    connect(Start("flags", int(index), 2, coordinator=f"localhost:{port}"))
    from mskjax.training import alike

    volumes, shared, other = (Path(folder) / name for name in ("volumes", "two", "other_volumes"))
    learn(volumes, shared)
    first = index == "0"
    seen, new = shared if first else Path(folder) / "unseen", Path(folder) / "new"
    alike.SEEN_WITHIN_S = 0.5
    found = {
        "finished": refusal(volumes, seen),
        "folder": refusal(volumes, seen, epochs=4),
        "config": refusal(volumes, new, seed=int(index)),
        "dataset": refusal(volumes if first else other, new),
    }
    with patch.object(Threshold, "bias", float(index)):
        found["weights"] = refusal(volumes, new)
    with patch.object(alike, "check_workdir"):
        found["step"] = refusal(volumes, seen, epochs=4)
    (Path(folder) / f"{index}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
