"""Keras's names for its ResNet50, as rules; the network's own names are Keras 3's."""

from collections.abc import Collection

from mskjax.convert import keras_layers
from mskjax.convert.rules import Rule


def keras_rules(heads: Collection[str]) -> list[Rule]:
    """The rules of a trunk on names "<layer>/<weight>", and of the head "fc", left out where `heads` lacks it."""
    return [
        *keras_layers.conv(r"(\w+_conv)", r"backbone/\1"),
        *keras_layers.batch_norm(r"(\w+_bn)", r"backbone/\1"),
        *keras_layers.head(heads),
    ]
