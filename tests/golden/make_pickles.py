"""Makes the torch files of tests/convert with torch 2.13 and torchvision 0.28; nothing else needs them.

Run `python tests/golden/make_pickles.py` where both are installed. The suffix is .bin because weights, which end in
.pth, stay out of the repository. The test expects the values that are computed here, and computes them itself.
"""

import json
from pathlib import Path

import torch

# A torchvision wheel that was built for CUDA lacks these operators beside a CPU torch; no network uses them.
library = torch.library.Library("torchvision", "FRAGMENT")
for operator in ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor", "qnms(Tensor a) -> Tensor"):
    library.define(operator)

import torchvision  # noqa: E402

FOLDER = Path(__file__).parent
DTYPES = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool"]


def contents() -> dict:
    grid = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    tensors = {dtype: torch.arange(6).reshape(2, 3).to(getattr(torch, dtype)) for dtype in DTYPES}
    views = {
        "whole": grid,
        "transposed": grid.permute(2, 0, 1),
        "offset": grid[1, 1:],
        "every_other": grid[:, :, ::2],
        "column": grid[:, 1, 3],
        "expanded": torch.tensor([7.0]).expand(2, 3),
        "scalar": torch.tensor(3),
        "empty": torch.empty(0, 5),
        "parameter": torch.nn.Parameter(torch.tensor([1.5, -2.5])),
    }
    plain = {"list": [1, -2, 2**40], "tuple": (1.5, None, True, "ä"), "size": torch.Size([2, 3]), 7: {}}
    return {"dtypes": tensors, "views": views, "plain": plain}


def checkpoint() -> dict:
    network = torch.nn.DataParallel(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2)))
    for index, value in enumerate(network.state_dict().values()):
        value.copy_(torch.full_like(value, index))
    optimiser = torch.optim.Adam(network.parameters())
    return {"epoch": 3, "state_dict": network.state_dict(), "optimizer": optimiser.state_dict()}


def shapes() -> dict:
    models = torchvision.models
    with torch.device("meta"):
        networks = {
            "resnet50": models.resnet50(),
            "resnet101": models.resnet101(),
            "fcn_resnet101": models.segmentation.fcn_resnet101(weights=None, weights_backbone=None, aux_loss=True),
        }
    return {
        name: {key: list(value.shape) for key, value in network.state_dict().items()}
        for name, network in networks.items()
    }


if __name__ == "__main__":
    for name, value in {"contents": contents(), "checkpoint": checkpoint()}.items():
        torch.save(value, FOLDER / f"torch_{name}_zip.bin")
        torch.save(value, FOLDER / f"torch_{name}_legacy.bin", _use_new_zipfile_serialization=False)
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 1)), FOLDER / "torch_script.bin")
    (FOLDER / "torchvision_shapes.json").write_text(json.dumps(shapes(), separators=(",", ":")) + "\n")
