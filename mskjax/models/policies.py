"""Which parameters of a network learn: the three fine-tuning policies of study B, for every network with a `backbone`.

"The last ten layers" are the last ten entries of `model.layers` of Keras's network without head and pooling. These are
in the order of Keras's graph and most hold no weights, so that of InceptionV3 a single BatchNorm learns beside the
head. A head, which is all that does not lie under `backbone`, always learns.
"""

import re
from collections.abc import Sequence

import flax.linen as nn

from mskjax.models import densenet, inception_resnet_v2, inception_v3, keras_resnet
from mskjax.models.densenet import DenseNet
from mskjax.models.fcn import FCN
from mskjax.models.inception_resnet_v2 import InceptionResNetV2
from mskjax.models.inception_v3 import InceptionV3
from mskjax.models.jigsaw import JigsawResNet
from mskjax.models.keras_resnet import KerasResNet
from mskjax.models.resnet import ResNet

POLICIES = ("freezeall", "unfreezetop10", "unfreezeall")
# The layers of a block of Keras's ResNet as torchvision names them.
_TORCHVISION = {
    "0_conv": "downsample_conv",
    "0_bn": "downsample_bn",
    **{f"{number}_{kind}": f"{kind}{number}" for number in (1, 2, 3) for kind in ("conv", "bn")},
}


def frozen(module: nn.Module, policy: str | Sequence[str]) -> tuple[str, ...]:
    """Regexes on the whole paths of those parameters of a network that do not learn under a policy.

    The policy is "freezeall" (only the head learns), "unfreezetop10" (the layers of `top_layers` too), "unfreezeall",
    or such regexes, a sequence of them or one text with commas between them, which all have a "/". They match the paths
    of frozen BatchNorm layers as well, so that `models.freeze_batch_norm` keeps their running statistics. `ValueError`
    for another word.
    """
    if not isinstance(policy, str):
        return tuple(policy)
    if "/" in policy:
        return tuple(policy.split(","))
    if policy not in POLICIES:
        raise ValueError(
            f"policy {policy!r} is unknown; choose one of {', '.join(POLICIES)}, or regexes such as backbone/.*"
        )
    if policy == "unfreezeall":
        return ()
    if policy == "freezeall":
        return ("backbone/.*",)
    learning = "|".join(re.escape(path) for _, path in top_layers(module) if path)
    return (rf"(?!(?:{learning})(?:/|$))backbone/.*",)


def top_layers(module: nn.Module) -> tuple[tuple[str, str], ...]:
    """Keras's names of the last ten layers of a network, each with the path of its parameters, "" where it has none.

    For torchvision's ResNets and the segmenter and the jigsaw network that share their trunk, these are the layers that
    Keras's ResNet has there. `ValueError` for a network that has no counterpart.
    """
    if isinstance(module, DenseNet):
        return densenet.top_layers(module.stage_sizes)
    if isinstance(module, KerasResNet):
        return keras_resnet.top_layers(module.stage_sizes)
    if isinstance(module, ResNet | FCN | JigsawResNet):
        return _of_torchvision(module.stage_sizes)
    if isinstance(module, InceptionV3):
        return inception_v3.TOP_LAYERS
    if isinstance(module, InceptionResNetV2):
        return inception_resnet_v2.TOP_LAYERS
    raise ValueError(f"the last ten layers of {type(module).__name__} are not known; name what to freeze by regexes")


def describe(module: nn.Module) -> str:
    """The last ten layers in words, those with weights marked by an asterisk, for a user to check."""
    return ", ".join(f"{name}{'*' if path else ''}" for name, path in top_layers(module))


def _of_torchvision(stage_sizes: tuple[int, ...]) -> tuple[tuple[str, str], ...]:
    block = f"backbone/layer4_{stage_sizes[-1] - 1}"
    layers = keras_resnet.top_layers(stage_sizes)
    return tuple(
        (name, f"{block}/{_TORCHVISION['_'.join(name.split('_')[2:])]}" if path else "") for name, path in layers
    )
