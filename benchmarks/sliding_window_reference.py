"""Segments a volume by SMIT's official network in PyTorch, for benchmarks.sliding_window, which runs it.

    python benchmarks/sliding_window_reference.py FOLDER OFFICIAL

reads FOLDER/volume.npy and writes the weights smit.pth, logits.npy [d, h, w, k] and seconds.txt, of the faster of
torch's two memory layouts on one window.
"""

# pyright: reportMissingImports=false
import sys
import time
from pathlib import Path

import numpy as np
import torch

LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
for operator in ("nms", "qnms"):  # which a CUDA build of torchvision misses beside a CPU build of torch
    LIBRARY.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

import monai.networks.blocks  # noqa: E402
from monai.inferers import sliding_window_inference  # noqa: E402

SIDE = 96


def main(folder: Path, official: str) -> None:
    sys.path.insert(0, official)
    monai.networks.blocks.UnetrUpOnlyBlock = object  # is imported there and in no release; what is used is defined
    from models.configs_Trans import get_3DTransSmall_config_Unetr
    from models.Trans import Trans_Unetr

    torch.manual_seed(0)
    network = Trans_Unetr(get_3DTransSmall_config_Unetr(), out_channels=2).eval()
    torch.save(network.state_dict(), folder / "smit.pth")
    volume = torch.from_numpy(np.load(folder / "volume.npy"))[None, None]
    layouts = (torch.contiguous_format, torch.channels_last_3d)
    with torch.no_grad():
        fastest = min(layouts, key=lambda layout: seconds_of_a_window(network, layout))
        network = network.to(memory_format=fastest)
        start = time.perf_counter()
        logits = sliding_window_inference(volume, (SIDE,) * 3, 1, network, overlap=0.5, mode="constant")
        (folder / "seconds.txt").write_text(str(time.perf_counter() - start))
    np.save(folder / "logits.npy", np.moveaxis(logits[0].numpy(), 0, -1))


def seconds_of_a_window(network: torch.nn.Module, layout: torch.memory_format) -> float:
    network.to(memory_format=layout)
    window = torch.rand(1, 1, SIDE, SIDE, SIDE).to(memory_format=layout)
    network(window)
    start = time.perf_counter()
    network(window)
    return time.perf_counter() - start


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
