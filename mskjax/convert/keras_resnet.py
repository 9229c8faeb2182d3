"""Keras's names for its ResNet50, as rules, and those of its port to PyTorch; the network's own names are Keras 3's.

The port (Warvito's RadImageNet-ResNet50_notop.pth, which MONAI passes on) calls the layers as torchvision calls those
of its own ResNet50, but is Keras's network: every convolution has a bias, which in torchvision's none has, the stride
is on the first of a block, and epsilon is 1.001e-5.
"""

from collections.abc import Collection

from mskjax.convert import keras_layers, torchvision
from mskjax.convert.rules import Rule, conv_kernel

_BLOCKS = (3, 4, 6, 3)


def rules(heads: Collection[str]) -> list[Rule]:
    """The rules of a trunk under either sort of names, and of the head "fc", left out where `heads` lacks it."""
    return [*keras_rules(heads), *port_rules(heads)]


def keras_rules(heads: Collection[str]) -> list[Rule]:
    """The rules of a trunk on names "<layer>/<weight>", and of the head "fc", left out where `heads` lacks it."""
    return [
        *keras_layers.conv(r"(\w+_conv)", r"backbone/\1"),
        *keras_layers.batch_norm(r"(\w+_bn)", r"backbone/\1"),
        *keras_layers.head(heads),
    ]


def is_port(names: Collection[str]) -> bool:
    """Whether a state_dict's names are those of the port: torchvision's, with biases where torchvision has none."""
    return {"conv1.bias", "layer1.0.conv1.bias"} <= set(names)


def port_rules(heads: Collection[str]) -> list[Rule]:
    """The rules of a trunk on the port's names, and of the head "fc", left out where `heads` lacks it."""
    places = [(stage, index) for stage, blocks in enumerate(_BLOCKS, start=1) for index in range(blocks)]
    return [
        *_conv_norm("conv1", "bn1", "conv1"),
        *(rule for stage, index in places for rule in _block(stage, index)),
        *torchvision.head("fc", heads),
    ]


def _block(stage: int, index: int) -> list[Rule]:
    """Of a block, which Keras counts from 1 and its stage from 2; only a stage's first has the shortcut."""
    source, target = rf"layer{stage}\.{index}", f"conv{stage + 1}_block{index + 1}"
    shortcut = _conv_norm(rf"{source}\.downsample\.0", rf"{source}\.downsample\.1", f"{target}_0") if index == 0 else []
    return [*_conv_norm(rf"{source}\.conv([123])", rf"{source}\.bn([123])", rf"{target}_\1"), *shortcut]


def _conv_norm(conv: str, norm: str, target: str) -> list[Rule]:
    return [
        Rule(rf"{conv}\.weight", f"params/backbone/{target}_conv/kernel", conv_kernel),
        Rule(rf"{conv}\.bias", f"params/backbone/{target}_conv/bias"),
        *torchvision.batch_norm(norm, f"backbone/{target}_bn"),
    ]
