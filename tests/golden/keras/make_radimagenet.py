"""Makes features_torchvision.npz and names_radimagenet.json: torchvision's networks in RadImageNet's wrapping.

    python tests/golden/keras/make_radimagenet.py

needs torch and torchvision, which the tests do not: they rebuild the weights by `fabricate.array` from torchvision's
names. RadImageNet keeps all but a network's last child, in a Sequential in the attribute `backbone`; the json lists
names and shapes of that state_dict, and torchvision's name of each. `<network>/<size>` are the pooled features
that torchvision's own network gives its last layer for `fabricate.image(size)`, stored in float32.
"""

import json
import runpy
from pathlib import Path

import fabricate
import numpy as np
import torch

FOLDER = Path(__file__).parent
OPTIONS = {"resnet50": {}, "densenet121": {}, "inception_v3": {"aux_logits": False, "init_weights": False}}


class Wrapped(torch.nn.Module):
    """A network as RadImageNet publishes it."""

    def __init__(self, network):
        super().__init__()
        self.backbone = torch.nn.Sequential(*list(network.children())[:-1])


def fill(network):
    state = network.state_dict()
    fabricated = {k: torch.from_numpy(fabricate.array(k, v.shape)) for k, v in state.items() if v.is_floating_point()}
    network.load_state_dict(state | fabricated)


def names(network) -> list:
    """The published name of each tensor, torchvision's, and the shape; the same tensor is found by its address."""
    own = {tensor.data_ptr(): name for name, tensor in network.state_dict(keep_vars=True).items()}
    wrapped = Wrapped(network).state_dict(keep_vars=True)
    return [[name, own[tensor.data_ptr()], list(tensor.shape)] for name, tensor in wrapped.items()]


def features(network, size: str) -> np.ndarray:
    found = []
    *_, last = network.children()
    hook = last.register_forward_pre_hook(lambda module, inputs: found.append(inputs[0]))
    with torch.no_grad():
        network(torch.from_numpy(fabricate.image(size).transpose(0, 3, 1, 2).copy()))
    hook.remove()
    return found[0].numpy()


def main():
    # Declares two operators that a CUDA build of torchvision misses beside a CPU build of torch.
    library = runpy.run_path(str(FOLDER.parent / "make_torchvision.py"))["declare_missing_operators"]()
    import torchvision

    found, listed = {}, {}
    for name, options in OPTIONS.items():
        network = getattr(torchvision.models, name)(weights=None, **options).eval()
        fill(network)
        listed[name] = names(network)
        for size in fabricate.SIZES:
            found[f"{name}/{size}"] = features(network, size)
            print(name, size, found[f"{name}/{size}"].shape, np.abs(found[f"{name}/{size}"]).max(), flush=True)
    np.savez_compressed(FOLDER / "features_torchvision.npz", **found)
    text = json.dumps(listed, separators=(",", ":")).replace("],[", "],\n[")
    (FOLDER / "names_radimagenet.json").write_text(text + "\n")
    del library


if __name__ == "__main__":
    main()
