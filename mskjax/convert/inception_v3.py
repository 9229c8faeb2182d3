"""Keras's and torchvision's names for InceptionV3, as rules.

Keras numbers its convolutions and BatchNorm layers in the order in which it makes them; the names here count from 0.
"""

from collections.abc import Collection

from mskjax.convert import keras_layers, torchvision
from mskjax.convert.rules import Rule, conv_kernel
from mskjax.models.inception_v3 import unit_paths


def keras_rules(heads: Collection[str]) -> list[Rule]:
    """The rules of a trunk on names "<layer>/<weight>", and of the head "fc", left out where `heads` lacks it."""
    return [*keras_layers.numbered_units(unit_paths()), *keras_layers.head(heads)]


def torchvision_rules(heads: Collection[str]) -> list[Rule]:
    """The rules of torchvision's network, and of the head "fc", left out where `heads` lacks it.

    The auxiliary head is always left out: it takes no part in what the network answers.
    """
    return [
        *(rule for pattern, target in _UNITS.items() for rule in _unit(pattern, target)),
        *torchvision.head("fc", heads),
        Rule(r"AuxLogits\..*", None, part="AuxLogits"),
    ]


_UNITS = {
    r"(Conv2d_\w+)": r"backbone/\1",
    r"(Mixed_\w+)\.(branch\w+)": r"backbone/\1/\2",
}


def _unit(pattern: str, target: str) -> list[Rule]:
    kernel = Rule(rf"{pattern}\.conv\.weight", f"params/{target}/conv/kernel", conv_kernel)
    return [kernel, *torchvision.batch_norm(rf"{pattern}\.bn", f"{target}/bn")]
