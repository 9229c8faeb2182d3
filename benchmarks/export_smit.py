"""Whether SMIT's official network loads exported weights strictly, and what it answers to the sample; one JSON line.

    python -m benchmarks.export_smit --peers=PYTHON --official=FOLDER

PYTHON has torch, monai, timm 0.9, einops and ml_collections; FOLDER is a copy of The-Veeraraghavan-Lab/SMIT. The run
that is exported is of the segmenter at full size with fresh weights. Figure to reach: logits within 1e-4.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import jax
import numpy as np
from safetensors.numpy import load_file

from benchmarks.common import report
from benchmarks.studies import launch
from configs.smit_segmentation import get_config
from mskjax import convert, tasks
from mskjax.files import write_json
from mskjax.training.start import BEST

REFERENCE = Path(__file__).with_name("export_smit_reference.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--official", required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        file = work / "smit.safetensors"
        launch("export", f"--run={fresh(work / 'run')}", "--format=safetensors", f"--output={file}")
        tensors = load_file(file)
        np.savez(work / "tensors.npz", allow_pickle=False, **tensors)
        with np.load(f"{file}.sample.npz") as sample:
            image, logits = sample["image"], sample["logits"]
        np.save(work / "image.npy", image)
        subprocess.run([given.peers, REFERENCE, work, given.official], check=True)
        found = np.load(work / "logits.npy")
    report(
        "export_smit",
        tensors=len(tensors),
        largest_difference=float(f"{np.abs(found - logits).max():.2g}"),
        largest_logit=round(float(np.abs(logits).max()), 2),
    )


def fresh(folder: Path) -> Path:
    """The run folder of a segmenter with the weights that a training from scratch begins with."""
    config = json.loads(get_config("init=random").to_json())
    task = tasks.build(config["task"])
    params, model_state = task.init(jax.random.key(0), tasks.examples(task, 1, config["image_size"]))
    convert.save_variables(folder / BEST, {"params": params, **model_state}, {})
    write_json(folder / "config.json", config)
    write_json(folder / "DONE", {"step": 0})
    return folder


if __name__ == "__main__":
    main()
