"""From grey levels to the input of a pretrained classifier, by the convention of those who trained it.

The conventions disagree, and a network told the wrong one gives no error, only worse features:
"own" is `keras.applications`' preprocess_input of each network (study B: "each network's own input preprocessing"), and
for torchvision's variants ImageNet's mean and standard deviation, but for its InceptionV3: the weights are TensorFlow's
and expect -1 to 1, which torchvision's `transform_input` makes of its normalised images within the network, as the one
here does not; "radimagenet_tensorflow" is what RadImageNet's TensorFlow scripts did with all four networks, Keras's
default mode "caffe" and then 1/255; "radimagenet_pytorch" is what its PyTorch notebooks do. Grey is the same in all
three colours, so that RGB and BGR differ in the means alone.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from mskjax.tasks.intensity import imagenet

CONVENTIONS = ("own", "radimagenet_tensorflow", "radimagenet_pytorch")
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)
_TORCH, _TF, _CAFFE = "torch", "tf", "caffe"  # the modes of Keras's imagenet_utils.preprocess_input
_CAFFE_SCALED = "caffe, then 1/255"
OWN = {
    ("densenet121", "keras"): _TORCH,
    ("inception_v3", "keras"): _TF,
    ("inception_resnet_v2", "keras"): _TF,
    ("keras_resnet50", "keras"): _CAFFE,
    **{(name, "torchvision"): _TORCH for name in ("resnet50", "resnet101", "densenet121")},
    ("inception_v3", "torchvision"): _TF,
}


def prepare(grey: Num[Array, "b h w"], network: str, variant: str, convention: str) -> Float[Array, "b h w 3"]:
    """Grey levels from 0 to 255 as the three channels that a network was trained on.

    Raises `ValueError` for a convention that is unknown, or a network and variant that have none of their own.
    """
    check(network, variant, convention)
    mode = _mode(network, variant, convention)
    if mode == _TORCH:
        return imagenet(grey / 255)
    if mode == _TF:
        return jnp.repeat(grey[..., None] / 127.5 - 1, 3, axis=-1)
    return _caffe(grey) / 255 if mode == _CAFFE_SCALED else _caffe(grey)


def alike(network: str, variant: str, *conventions: str) -> bool:
    """Whether conventions give a network the same input, as InceptionV3's own is what "radimagenet_pytorch" is too."""
    for convention in conventions:
        check(network, variant, convention)
    return len({_mode(network, variant, convention) for convention in conventions}) == 1


def check(network: str, variant: str, convention: str) -> None:
    """Raises `ValueError` unless `prepare` knows the convention and, for "own", the network and its variant."""
    if convention not in CONVENTIONS:
        raise ValueError(f"preprocessing {convention!r} is unknown; choose one of {', '.join(CONVENTIONS)}")
    if convention == "own" and (network, variant) not in OWN:
        known = ", ".join(f"{name} ({whose})" for name, whose in OWN)
        raise ValueError(f"no preprocessing is known of {network} ({variant}); it is of {known}")


def _mode(network: str, variant: str, convention: str) -> str:
    radimagenet = {"radimagenet_tensorflow": _CAFFE_SCALED, "radimagenet_pytorch": _TF}
    return radimagenet[convention] if convention in radimagenet else OWN[network, variant]


def _caffe(grey: Num[Array, "b h w"]) -> Float[Array, "b h w 3"]:
    """Channels blue, green, red, each less its mean over ImageNet."""
    return grey[..., None] - jnp.array(CAFFE_MEAN_BGR, jnp.promote_types(grey.dtype, jnp.float32))
