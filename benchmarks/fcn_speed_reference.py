"""Times torchvision's FCN-ResNet101 at the asking of benchmarks.fcn_speed, which runs it.

    python benchmarks/fcn_speed_reference.py FOLDER THREADS

writes the weights FOLDER/fcn.pth, then answers each line "inference LAYOUT" or "training LAYOUT" on its standard input,
LAYOUT being contiguous or channels_last, by the seconds of one call on FOLDER/inference.npy or training.npy, [b, c, h,
w]. The first call of each also writes its result, logits or the loss, as FOLDER/inference_result.npy or
training_result.npy. All pixels are of class 1, and there is no dropout, as with us.
"""

# pyright: reportMissingImports=false
import copy
import sys
import time
from pathlib import Path

import numpy as np
import torch

LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
for operator in ("nms", "qnms"):  # which a CUDA build of torchvision misses beside a CPU build of torch
    LIBRARY.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from torchvision import models  # noqa: E402


class Peer:
    """The network in one memory layout with its optimiser."""

    def __init__(self, network: torch.nn.Module, layout: str) -> None:
        """A copy of the network."""
        self.layout = torch.channels_last if layout == "channels_last" else torch.contiguous_format
        self.network = copy.deepcopy(network).to(memory_format=self.layout)
        self.network.classifier[3].p = 0.0
        self.optimizer = torch.optim.Adam(self.network.parameters(), 1e-4)

    def inference(self, image: torch.Tensor) -> torch.Tensor:
        """The image's logits."""
        self.network.eval()
        with torch.inference_mode():
            return self.network(image.to(memory_format=self.layout))["out"]

    def training(self, image: torch.Tensor) -> torch.Tensor:
        """The loss of one update."""
        self.network.train()
        self.optimizer.zero_grad()
        logits = self.network(image.to(memory_format=self.layout))["out"]
        loss = torch.nn.functional.cross_entropy(logits, torch.ones_like(logits[:, 0], dtype=torch.long))
        loss.backward()
        self.optimizer.step()
        return loss.detach()


def main(folder: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = models.segmentation.fcn_resnet101(weights=None, weights_backbone=None)
    torch.save(network.state_dict(), folder / "fcn.pth")
    peers = {layout: Peer(network, layout) for layout in ("contiguous", "channels_last")}
    for line in sys.stdin:
        seconds = 0.0
        if line.strip() != "ready":
            work, layout = line.split()
            image = torch.from_numpy(np.load(folder / f"{work}.npy"))
            start = time.perf_counter()
            result = getattr(peers[layout], work)(image)
            seconds = time.perf_counter() - start
            if not (folder / f"{work}_result.npy").exists():
                np.save(folder / f"{work}_result.npy", result.numpy())
        print(seconds, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
