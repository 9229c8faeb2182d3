"""torchvision's names for ResNet and FCN networks, as rules; a ResNet's trunk is `backbone.` within an FCN.

Checked against torchvision 0.28. Files of old releases lack `num_batches_tracked`, which no network here needs.
"""

from collections.abc import Collection

import numpy as np

from mskjax.convert.rules import Rule, conv_kernel, dense_kernel


def batch_norm(source: str, target: str) -> list[Rule]:
    """The rules of a BatchNorm2d, whose count of batches is left out."""
    return [
        Rule(rf"{source}\.weight", f"params/{target}/scale"),
        Rule(rf"{source}\.bias", f"params/{target}/bias"),
        Rule(rf"{source}\.running_mean", f"batch_stats/{target}/mean"),
        Rule(rf"{source}\.running_var", f"batch_stats/{target}/var"),
        Rule(rf"{source}\.num_batches_tracked", None, inverse=no_batches, made_of=f"batch_stats/{target}/mean"),
    ]


def no_batches(mean: np.ndarray) -> np.ndarray:
    """A count of batches, which no network here keeps, and which torch reads only without a momentum."""
    return np.zeros((), np.int64)


def _fcn_head(name: str) -> list[Rule]:
    return [
        Rule(rf"{name}\.0\.weight", f"params/{name}/conv/kernel", conv_kernel),
        *batch_norm(rf"{name}\.1", f"{name}/bn"),
        Rule(rf"{name}\.4\.weight", f"params/{name}/logits/kernel", conv_kernel),
        Rule(rf"{name}\.4\.bias", f"params/{name}/logits/bias"),
    ]


_BLOCK = r"(?:backbone\.)?layer(\d)\.(\d+)"
_TRUNK = [
    Rule(r"(?:backbone\.)?conv1\.weight", "params/backbone/conv1/kernel", conv_kernel),
    *batch_norm(r"(?:backbone\.)?bn1", "backbone/bn1"),
    Rule(rf"{_BLOCK}\.conv(\d)\.weight", r"params/backbone/layer\1_\2/conv\3/kernel", conv_kernel),
    *batch_norm(rf"{_BLOCK}\.bn(\d)", r"backbone/layer\1_\2/bn\3"),
    Rule(rf"{_BLOCK}\.downsample\.0\.weight", r"params/backbone/layer\1_\2/downsample_conv/kernel", conv_kernel),
    *batch_norm(rf"{_BLOCK}\.downsample\.1", r"backbone/layer\1_\2/downsample_bn"),
]
_HEADS = {
    "fc": [
        Rule(r"fc\.weight", "params/fc/kernel", dense_kernel),
        Rule(r"fc\.bias", "params/fc/bias"),
    ],
    "classifier": _fcn_head("classifier"),
    "aux_classifier": _fcn_head("aux_classifier"),
}


def rules(heads: Collection[str]) -> list[Rule]:
    """The rules of a trunk with those of the heads "fc", "classifier", "aux_classifier" that are in `heads`.

    The tensors of any other head are left out on purpose.
    """
    return [*_TRUNK, *(rule for name in _HEADS for rule in head(name, heads))]


def head(name: str, heads: Collection[str]) -> list[Rule]:
    """The rules of the head `name`, which is left out where `heads` lacks it."""
    return _HEADS[name] if name in heads else [Rule(rf"{name}\..*", None, part=name)]
