"""Writes what torchvision's networks give at real size, for benchmarks.torchvision_parity, which runs it.

    python benchmarks/torchvision_reference.py OUTPUT

needs torch and torchvision. Weights are torchvision's random ones, those of BatchNorm made uneven. For each network:
`<network>.pth`, its state_dict; `<network>.npz`, an image, the outputs in evaluation, in float64 and in float32, and
the logits' cotangents; `<network>_step.pth`, a state_dict that holds gradients in place of parameters and the running
statistics after one training step in float64 on sum(logits * cotangent) without dropout. Files are in float32.
"""

# pyright: reportMissingImports=false
import sys
from pathlib import Path

import numpy as np
import torch

LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
for operator in ("nms", "qnms"):  # which a CUDA build of torchvision misses beside a CPU build of torch
    LIBRARY.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

from torchvision import models  # noqa: E402

IMAGE_SHAPE = (2, 3, 128, 160)
STAGES = {"stem": "maxpool"} | {f"layer{k}": f"layer{k}" for k in range(1, 5)}


def make_uneven(network: torch.nn.Module) -> None:
    """Moves the scales and biases of BatchNorm at random and gives it the statistics of an image of noise.

    The last scale of each block is made small, as it is in trained networks; else the 33 blocks amplify rounding so far
    that torchvision's own float32 misses its float64 by 5e-3 in the last stage.
    """
    norms = {name: module for name, module in network.named_modules() if isinstance(module, torch.nn.BatchNorm2d)}
    with torch.no_grad():
        for name, norm in norms.items():
            norm.momentum = 1.0
            norm.weight += 0.2 * torch.randn_like(norm.weight)
            norm.weight *= 0.2 if name.endswith("bn3") else 1.0
            norm.bias += 0.1 * torch.randn_like(norm.bias)
        network.train()(torch.randn(IMAGE_SHAPE))
    for norm in norms.values():
        norm.momentum = 0.1


def outputs(network: torch.nn.Module, image: torch.Tensor) -> dict[str, torch.Tensor]:
    """Every named output, stages by forward hooks."""
    trunk, found = getattr(network, "backbone", network), {}
    hooks = [
        getattr(trunk, module).register_forward_hook(lambda m, i, o, name=name: found.update({name: o}))
        for name, module in STAGES.items()
    ]
    logits = network(image)
    for hook in hooks:
        hook.remove()
    if isinstance(logits, dict):
        return found | {"logits": logits["out"], "aux_logits": logits["aux"]}
    return found | {"logits": logits}


def write(name: str, network: torch.nn.Module, folder: Path) -> None:
    make_uneven(network)
    torch.save(network.state_dict(), folder / f"{name}.pth")
    image = torch.randn(IMAGE_SHAPE)
    with torch.no_grad():
        arrays = {f"float32/{k}": v for k, v in outputs(network.eval(), image).items()}
        image = image.double()
        arrays |= {"image": image} | outputs(network.double(), image)
    logits = {k: v for k, v in outputs(train(network), image).items() if k.endswith("logits")}
    cotangents = {k: torch.randn(v.shape).double() for k, v in logits.items()}
    torch.stack([(v * cotangents[k]).sum() for k, v in logits.items()]).sum().backward()
    step = network.state_dict() | {k: v.grad for k, v in network.named_parameters()}
    torch.save({k: v.float() if v.is_floating_point() else v for k, v in step.items()}, folder / f"{name}_step.pth")
    arrays |= {f"cotangent/{k}": v for k, v in cotangents.items()}
    np.savez(folder / f"{name}.npz", **{k: v.numpy().astype(np.float32) for k, v in arrays.items()})


def train(network: torch.nn.Module) -> torch.nn.Module:
    for module in network.train().modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return network


if __name__ == "__main__":
    torch.manual_seed(0)
    plain = {"weights": None, "weights_backbone": None}
    write("resnet101", models.resnet101(weights=None), Path(sys.argv[1]))
    write("fcn_resnet101", models.segmentation.fcn_resnet101(**plain, aux_loss=True), Path(sys.argv[1]))
