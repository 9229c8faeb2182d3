"""Keras's and torchvision's names for DenseNet, as rules; the network's own names are Keras 3's.

torchvision's dense block 1 is Keras's stage 2, and its transition 1 Keras's "pool2". Its published files of old write
"denselayer1.norm.1" where the network now has "denselayer1.norm1"; both are taken.
"""

from collections.abc import Collection

from mskjax.convert import keras_layers
from mskjax.convert.rules import Rule, conv_kernel, dense_kernel
from mskjax.convert.torchvision import batch_norm


def keras_rules(heads: Collection[str]) -> list[Rule]:
    """The rules of a trunk on names "<layer>/<weight>", and of the head "fc", left out where `heads` lacks it."""
    return [
        *keras_layers.conv(r"(\w+_conv)", r"backbone/\1"),
        *keras_layers.batch_norm(r"(\w+_bn|bn)", r"backbone/\1"),
        *keras_layers.head(heads),
    ]


def torchvision_rules(heads: Collection[str]) -> list[Rule]:
    """The rules of torchvision's network, whose `classifier` is the head "fc", left out where `heads` lacks it."""
    return [
        *_conv_norm(r"features\.conv0", "conv1_conv", r"features\.norm0", "conv1_bn"),
        *(rule for block in range(1, 5) for rule in _dense_block(block)),
        *(rule for transition in range(1, 4) for rule in _transition(transition)),
        *batch_norm(r"features\.norm5", "backbone/bn"),
        *_head(heads),
    ]


def _dense_block(block: int) -> list[Rule]:
    source, target = rf"features\.denseblock{block}\.denselayer(\d+)", rf"conv{block + 1}_block\1"
    return [
        *batch_norm(rf"{source}\.norm\.?1", rf"backbone/{target}_0_bn"),
        *_conv_norm(rf"{source}\.conv\.?1", rf"{target}_1_conv", rf"{source}\.norm\.?2", rf"{target}_1_bn"),
        Rule(rf"{source}\.conv\.?2\.weight", rf"params/backbone/{target}_2_conv/kernel", conv_kernel),
    ]


def _transition(transition: int) -> list[Rule]:
    source, target = rf"features\.transition{transition}", f"pool{transition + 1}"
    return _conv_norm(rf"{source}\.conv", f"{target}_conv", rf"{source}\.norm", f"{target}_bn")


def _conv_norm(conv: str, conv_target: str, norm: str, norm_target: str) -> list[Rule]:
    kernel = Rule(rf"{conv}\.weight", f"params/backbone/{conv_target}/kernel", conv_kernel)
    return [kernel, *batch_norm(norm, f"backbone/{norm_target}")]


def _head(heads: Collection[str]) -> list[Rule]:
    if "fc" not in heads:
        return [Rule(r"classifier\..*", None, part="fc")]
    return [
        Rule(r"classifier\.weight", "params/fc/kernel", dense_kernel),
        Rule(r"classifier\.bias", "params/fc/bias"),
    ]
