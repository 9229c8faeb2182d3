"""Loads exported weights strictly into torchvision's FCN and predicts an image, for benchmarks.export_parity.

    python benchmarks/export_parity_reference.py MODEL TENSORS EXCHANGE

needs torch and torchvision. MODEL is the network of a run's config, in JSON; TENSORS an npz of the exported tensors.
EXCHANGE, an npz with "image" [b, 3, h, w], is replaced by one with torchvision's "logits" [b, k, h, w].
"""

# pyright: reportMissingImports=false
import json
import sys

import numpy as np
import torch

LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
for operator in ("nms", "qnms"):  # which a CUDA build of torchvision misses beside a CPU build of torch
    LIBRARY.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from torchvision.models.resnet import Bottleneck, ResNet  # noqa: E402
from torchvision.models.segmentation import fcn_resnet101  # noqa: E402
from torchvision.models.segmentation.fcn import _fcn_resnet  # noqa: E402


class NarrowResNet(ResNet):
    """torchvision's trunk with other numbers of channels, which it fixes at 64 in the stem."""

    def __init__(self, blocks: list[int], width: int):
        super().__init__(Bottleneck, blocks, replace_stride_with_dilation=[False, True, True])
        self.inplanes, self.dilation = width, 1
        self.conv1 = torch.nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(width)
        for stage, count in enumerate(blocks):
            options = {"stride": 1 if stage == 0 else 2, "dilate": stage > 1}
            setattr(self, f"layer{stage + 1}", self._make_layer(Bottleneck, width << stage, count, **options))


def build(model: dict) -> torch.nn.Module:
    """The network of torchvision of this size."""
    if model.get("width", 64) == 64:
        plain = {"weights": None, "weights_backbone": None}
        return fcn_resnet101(num_classes=model["num_classes"], aux_loss=model["aux_head"], **plain)
    network = _fcn_resnet(
        NarrowResNet(list(model["stage_sizes"]), model["width"]), model["num_classes"], model["aux_head"]
    )
    features = 32 * model["width"]
    network.classifier = type(network.classifier)(features, model["num_classes"])
    return network


def main(model: str, tensors: str, exchange: str) -> None:
    network = build(json.loads(model))
    with np.load(tensors) as file:
        network.load_state_dict({name: torch.from_numpy(file[name]) for name in file}, strict=True)
    with np.load(exchange) as file:
        image = torch.from_numpy(file["image"])
    with torch.no_grad():
        logits = network.eval()(image)["out"]
    np.savez(exchange, logits=logits.numpy())


if __name__ == "__main__":
    main(*sys.argv[1:])
