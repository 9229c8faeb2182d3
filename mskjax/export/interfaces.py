"""What an export takes and gives, for its model card: a table of inputs and outputs, or how PyTorch loads it."""

from collections.abc import Mapping
from typing import Any

from mskjax import models
from mskjax.convert.families import SMIT, variant_of
from mskjax.export.artifact import FINEST_MM
from mskjax.export.source import Source
from mskjax.measure import bone

OFFICIAL = {
    "smit_segmenter": "the segmenter `Trans_Unetr`",
    "smit_pretrainer": "the pretraining student, `Trans_SMIT_pre_train_Student_No_Share` or with a shared head",
}
TAKES = (
    "Input: (b, 3, h, w) float32, prepared as below. The sample has one, `image`, with the `image_hu` (b, rows, "
    "columns) and `spacing_mm` (b, 2) it is made of, and what the network answers."
)

RUNS = {
    "stablehlo": (
        "from pathlib import Path",
        "",
        "import jax",
        "from jax import export",
        "",
        'program = export.deserialize(bytearray(Path("{}").read_bytes()))',
        'outputs = jax.jit(program.call)(image_hu.astype("float32"), spacing_mm.astype("float32"))',
    ),
    "onnx": (
        "import onnxruntime",
        "",
        'session = onnxruntime.InferenceSession("{}")',
        'given = {{"image_hu": image_hu.astype("float32"), "spacing_mm": spacing_mm.astype("float32")}}',
        "probability, mask, area_cm2 = session.run(None, given)",
    ),
}
READABLE = {
    "stablehlo": ("", "JAX promises to read it for six months after the version that wrote it, named below."),
    "onnx": (),
}


def lines(name: str, source: Source, about: Mapping[str, Any]) -> list[str]:
    """The lines of Markdown of the section on the file `name`."""
    if about["format"] != "safetensors":
        return _program(name, about["format"], *about["verification"]["shape"])
    return _smit(source) if variant_of(source.model, source.options) == SMIT else _torchvision(name, source)


def _program(name: str, format: str, rows: int, columns: int) -> list[str]:
    grid = f"(b, {rows}, {columns})"
    told = {
        "`image_hu`, input": (
            grid,
            "float32",
            "Hounsfield units; rows run from front to back of the patient, columns from the patient's right to left",
        ),
        "`spacing_mm`, input": (
            "(b, 2)",
            "float32",
            f"mm from row to row and from column to column, {FINEST_MM:g} or more",
        ),
        "`probability`, output": (grid, "float32", "of skeletal muscle, 0 to 1, on the slice's own pixels"),
        "`mask`, output": (
            grid,
            "bool",
            f"probability above 0.5, less bone (above {bone.BONE_ABOVE_HU} HU) and what lies "
            f"within {bone.MARGIN_MM:g} mm of it in the slice",
        ),
        "`area_cm2`, output": ("(b,)", "float32", "of the mask"),
    }
    return [
        "| name | shape | type | meaning |",
        "| --- | --- | --- | --- |",
        *(f"| {name} | {' | '.join(row)} |" for name, row in told.items()),
        "",
        f"b is any number. Where a spacing is under {FINEST_MM:g} mm or not finite, or a probability is no number, the "
        "mask is empty and the area NaN.",
        "",
        "```python",
        *(line.format(name) for line in RUNS[format]),
        "```",
        *READABLE[format],
    ]


def _smit(source: Source) -> list[str]:
    official = OFFICIAL.get(source.model, "the encoder")
    return [
        f"The names are those of {official} in The-Veeraraghavan-Lab/SMIT, commit 5d81399. Its state_dict loads them "
        "strictly with releases of MONAI whose blocks have no third convolution where none is used, such as 1.6.1. "
        "Input: (b, 1, i, j, k) float32, prepared as below.",
    ]


def _torchvision(name: str, source: Source) -> list[str]:
    if _size(source.model, source.options) != _size(source.model, {}):
        return [
            "Its tensors have torchvision's names, but torchvision builds no network with as many blocks and channels "
            "as this one has (above): to load it strictly takes a network of one's own with those numbers.",
            "",
            TAKES,
        ]
    fcn, classes = source.model == "fcn_resnet101", source.options.get("num_classes")
    options = ["weights=None", f"num_classes={classes}"]
    options += ["weights_backbone=None", f"aux_loss={bool(source.options.get('aux_head'))}"] if fcn else []
    options += ["aux_logits=False", "init_weights=False"] if source.model == "inception_v3" else []
    return [
        "```python",
        "from safetensors.torch import load_file",
        f"from torchvision.models{'.segmentation' if fcn else ''} import {source.model}",
        "",
        f"network = {source.model}({', '.join(options)}).eval()",
        f'network.load_state_dict(load_file("{name}"), strict=True)',
        "```",
        "",
        TAKES,
    ]


def _size(model: str, options: Mapping[str, Any]) -> tuple[Any, Any]:
    module = models.build(model, **options)
    return getattr(module, "stage_sizes", None), getattr(module, "width", None)
