"""Keras's names for InceptionResNetV2, as rules; its numbered layers count from 0, in the order of their making."""

from collections.abc import Collection

from mskjax.convert import keras_layers
from mskjax.convert.rules import Rule
from mskjax.models.inception_resnet_v2 import unit_paths


def keras_rules(heads: Collection[str]) -> list[Rule]:
    """The rules of a trunk on names "<layer>/<weight>", and of the head "fc", left out where `heads` lacks it."""
    return [
        *keras_layers.numbered_units(unit_paths()),
        *keras_layers.conv(r"(block\d+_\d+)_conv", r"backbone/\1/conv"),
        *keras_layers.conv("conv_7b", "backbone/conv_7b/conv"),
        *keras_layers.batch_norm("conv_7b_bn", "backbone/conv_7b/bn"),
        *keras_layers.head(heads),
    ]
