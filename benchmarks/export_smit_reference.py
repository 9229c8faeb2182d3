"""Loads exported weights strictly into SMIT's official network and predicts an image, for benchmarks.export_smit.

    python benchmarks/export_smit_reference.py FOLDER OFFICIAL

reads FOLDER/tensors.npz and image.npy [b, 1, i, j, k], and writes logits.npy [b, k, i, j, k].
"""

# pyright: reportMissingImports=false
import sys
from pathlib import Path

import numpy as np
import torch

LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
for operator in ("nms", "qnms"):  # which a CUDA build of torchvision misses beside a CPU build of torch
    LIBRARY.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import monai.networks.blocks  # noqa: E402


def main(folder: Path, official: str) -> None:
    sys.path.insert(0, official)
    monai.networks.blocks.UnetrUpOnlyBlock = object  # is imported there and in no release; what is used is defined
    from models.configs_Trans import get_3DTransSmall_config_Unetr
    from models.Trans import Trans_Unetr

    network = Trans_Unetr(get_3DTransSmall_config_Unetr(), out_channels=2).eval()
    with np.load(folder / "tensors.npz") as tensors:
        network.load_state_dict({name: torch.from_numpy(tensors[name]) for name in tensors}, strict=True)
    with torch.no_grad():
        logits = network(torch.from_numpy(np.load(folder / "image.npy")))
    np.save(folder / "logits.npy", logits.numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
