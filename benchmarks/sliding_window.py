"""A whole scan segmented by overlapping windows, against the same network in PyTorch in one run; one JSON line.

    python -m benchmarks.sliding_window --peers=PYTHON --official=FOLDER [--shape=275,275,127]

PYTHON has torch, monai, timm 0.9, einops and ml_collections; FOLDER is a copy of The-Veeraraghavan-Lab/SMIT. The
default shape is that of a scan of 512x512x51 voxels of 0.805 mm and 5 mm, resampled to 1.5 x 1.5 x 2 mm: 50 windows of
96 voxels that overlap by half. Both have the weights that torch drew, take the windows of MONAI's
sliding_window_inference one at a time, and warm up on one. Figure to reach: a ratio of times of at most 1 / 0.7, best
below 1.
"""

import argparse
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.common import report
from mskjax import convert, models
from mskjax.training.sliding_window import predict, windows

SIDE, OVERLAP = 96, 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", required=True)
    parser.add_argument("--official", required=True)
    parser.add_argument("--shape", default="275,275,127")
    arguments = parser.parse_args()
    shape = [int(side) for side in arguments.shape.split(",")]
    volume = np.random.default_rng(0).random(shape, np.float32)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "volume.npy", volume)
        program = Path(__file__).with_name("sliding_window_reference.py")
        subprocess.run([arguments.peers, program, folder, arguments.official], check=True)
        expected = np.load(Path(folder) / "logits.npy")
        theirs_s = float((Path(folder) / "seconds.txt").read_text())
        variables = convert.load_weights(Path(folder) / "smit.pth", "smit_segmenter", num_classes=2)
    module = models.build("smit_segmenter", num_classes=2)

    @jax.jit
    def compiled(cut: Any) -> jax.Array:
        outputs: Any = module.apply(variables, cut[..., None])
        return outputs["logits"]

    start = time.perf_counter()
    compiled(np.zeros((1, SIDE, SIDE, SIDE), np.float32)).block_until_ready()
    first_s = time.perf_counter() - start
    start = time.perf_counter()
    found = predict(compiled, volume, SIDE, OVERLAP)
    ours_s = time.perf_counter() - start
    report(
        "sliding_window",
        shape=arguments.shape,
        windows=len(windows(shape, SIDE, OVERLAP)),
        ours_s=round(ours_s, 1),
        torch_s=round(theirs_s, 1),
        ratio=round(ours_s / theirs_s, 2),
        compilation_s=round(first_s, 1),
        largest_difference=float(f"{np.abs(found - expected).max():.2g}"),
        largest_logit=round(float(np.abs(expected).max()), 2),
    )


if __name__ == "__main__":
    main()
