"""Turns published weights into mskjax's own file: one safetensors with the source, its hash, licence and preprocessing.

    python -m launch.convert --model=fcn_resnet101 --download --output=third_party_weights/fcn_resnet101.safetensors
    python -m launch.convert --model=fcn_resnet101 --weights=fcn_resnet101_coco-7ecb50ca.pth --output=coco.safetensors
    python -m launch.convert --model=inception_v3 --weights=RadImageNet-InceptionV3_notop.h5 --output=v3.safetensors
    python -m launch.convert --model=densenet121 --variant=torchvision --weights=DenseNet121.pt --output=d.safetensors
    python -m launch.convert --model=smit_encoder --weights=pre_train_weight.pt --output=smit_encoder.safetensors

The first name is where configs/segmentation.py:init=segmentation looks. configs/smit_segmentation.py looks for
third_party_weights/smit_encoder.safetensors, of SMIT's pretraining; smit_segmenter takes a whole fine-tuned network.

third_party_weights/README.md lists the entries that can be downloaded and how to obtain the others. Nothing that a
weight file names is run. An output that was made of the same source with the same options is left as it is.
"""

from typing import Any

from absl import flags

from launch.main import run

NETWORKS = "fcn_resnet101, resnet50, resnet101, keras_resnet50, densenet121, inception_v3, inception_resnet_v2"
MODEL = flags.DEFINE_string("model", None, f"The network: {NETWORKS}, smit_encoder or smit_segmenter.", required=True)
VARIANT = flags.DEFINE_enum(
    "variant", None, ["keras", "torchvision"], "Whose form of it the weights are, if it has two."
)
WEIGHTS = flags.DEFINE_string("weights", None, "The published file: .pth, .pt, .h5, .weights.h5 or .safetensors.")
DOWNLOAD = flags.DEFINE_flag(
    flags.Flag(
        flags.ArgumentParser(),
        flags.ArgumentSerializer(),
        "download",
        None,
        "Download the file; --download=ENTRY names one of the manifest, --download takes the model's first.",
        boolean=True,
    )
)
OUTPUT = flags.DEFINE_string("output", None, "The safetensors file to write.", required=True)
NUM_CLASSES = flags.DEFINE_integer("num_classes", None, "Classes of the head, by default the model's own; 0: no head.")
AUX_HEAD = flags.DEFINE_boolean("aux_head", None, "Keep the auxiliary head, which is left out by default.")


def main() -> None:
    """Converts one file."""
    download = DOWNLOAD.value not in (None, "false")
    if download == bool(WEIGHTS.value):
        raise ValueError("give either --weights=FILE or --download")
    from mskjax.convert.conversion import convert

    entry = DOWNLOAD.value if download and DOWNLOAD.value != "true" else None
    options: dict[str, Any] = {"variant": VARIANT.value} if VARIANT.value else {}
    if NUM_CLASSES.value is not None:
        options["num_classes"] = NUM_CLASSES.value or None
    if AUX_HEAD.value is not None:
        options["aux_head"] = AUX_HEAD.value
    print(convert(MODEL.value, OUTPUT.value, WEIGHTS.value, entry, **options))


if __name__ == "__main__":
    run(main)
