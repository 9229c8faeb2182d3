"""Makes torchvision.npz: what torchvision's ResNet and FCN give for narrow networks whose weights follow from names.

    python tests/golden/make_torchvision.py

needs torch and torchvision, which the tests do not: they read the file and rebuild the weights by `array`. Blocks,
strides and dilation are torchvision's own; only the planes are divided by 64 / WIDTH. Everything is computed in float64
and stored in float32. `<network>/<name>` are outputs in evaluation; `<network>/train/<name>` come from a training step
without dropout on the loss sum(logits * cotangent) over all logits: the logits, the running statistics afterwards, and
of each of `parameters` the gradient's norm and its product with the parameter's `array`. Layouts are torch's.
"""

import zlib
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("torchvision.npz")
STAGE_SIZES = (2, 1, 2, 2)
WIDTH = 8
NUM_CLASSES = 3
IMAGE_SHAPE = (2, 3, 27, 45)


def array(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The float64 array that belongs to a name, for a weight one of useful size."""
    z = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("running_var"):
        return np.exp(0.3 * z)
    if len(shape) == 1:
        return 1 + 0.2 * z if name.endswith("weight") else 0.1 * z
    return z * np.sqrt(2 / np.prod(shape[1:]))


def image() -> np.ndarray:
    return 5 * array("image", IMAGE_SHAPE)


def networks():
    """The narrow networks in torch, with the weights of `array`, in float64."""
    import torch
    from torchvision.models import resnet
    from torchvision.models.segmentation import fcn

    class Narrow(resnet.ResNet):
        def _make_layer(self, block, planes, *others, **options):
            self.inplanes = self.inplanes if planes > 64 else WIDTH
            return super()._make_layer(block, planes * WIDTH // 64, *others, **options)

        def __init__(self, **options):
            super().__init__(resnet.Bottleneck, list(STAGE_SIZES), **options)
            self.conv1 = torch.nn.Conv2d(3, WIDTH, 7, 2, 3, bias=False)
            self.bn1 = torch.nn.BatchNorm2d(WIDTH)
            self.fc = torch.nn.Linear(32 * WIDTH, NUM_CLASSES)

    trunk = Narrow(replace_stride_with_dilation=[False, True, True])
    trunk = fcn.IntermediateLayerGetter(trunk, {"layer3": "aux", "layer4": "out"})
    heads = fcn.FCNHead(32 * WIDTH, NUM_CLASSES), fcn.FCNHead(16 * WIDTH, NUM_CLASSES)
    found = {"resnet": Narrow(), "fcn": fcn.FCN(trunk, *heads)}
    for network in found.values():
        state = network.double().state_dict()
        fill = {k: torch.from_numpy(array(k, v.shape)) for k, v in state.items() if v.is_floating_point()}
        network.load_state_dict(state | fill)
    return found


def outputs(network) -> dict:
    """The network's named outputs, stages included, by forward hooks."""
    import torch

    trunk = getattr(network, "backbone", network)
    found, names = {}, {"stem": "maxpool"} | {f"layer{k}": f"layer{k}" for k in range(1, 5)}
    hooks = [
        getattr(trunk, module).register_forward_hook(lambda m, i, o, name=name: found.update({name: o}))
        for name, module in names.items()
    ]
    logits = network(torch.from_numpy(image()))
    for hook in hooks:
        hook.remove()
    if isinstance(logits, dict):
        return found | {"logits": logits["out"], "aux_logits": logits["aux"]}
    return found | {"features": found["layer4"].mean((2, 3)), "logits": logits}


def training(network) -> dict:
    """The training step's logits, gradients' norms and products, and the running statistics after it."""
    import torch

    network.train()
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0
    found = {name: value for name, value in outputs(network).items() if name.endswith("logits")}
    sum((v * torch.from_numpy(array("cotangent", v.shape))).sum() for v in found.values()).backward()
    gradients = {name: parameter.grad.numpy() for name, parameter in network.named_parameters()}
    products = [(np.linalg.norm(g), (g * array(name, g.shape)).sum()) for name, g in gradients.items()]
    found |= {"parameters": np.array(list(gradients)), "gradients": np.array(products)}
    return found | {name: value for name, value in network.state_dict().items() if "running" in name}


def stored(value) -> np.ndarray:
    value = value if isinstance(value, np.ndarray) else value.detach().numpy()
    return value.astype(np.float32) if value.dtype == np.float64 else value


def declare_missing_operators():
    """Lets a CUDA build of torchvision import beside a CPU build of torch, which lacks two operators unused here."""
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def main():
    library = declare_missing_operators()  # lives while torchvision is in use
    found = {}
    for name, network in networks().items():
        found |= {f"{name}/{output}": value for output, value in outputs(network.eval()).items()}
        found |= {f"{name}/train/{output}": value for output, value in training(network).items()}
    np.savez_compressed(FILE, **{name: stored(value) for name, value in found.items()})
    print(f"{FILE}: {len(found)} arrays, {FILE.stat().st_size / 1e3:.0f} kB")
    del library


if __name__ == "__main__":
    main()
