"""Converts a run's measurement to ONNX and runs it on the sample; in the environment that has jax2onnx.

    python -m mskjax.export.onnx_graph FOLDER

FOLDER holds request.json ({"config", "weights", "shape", "about"}) and sample.npz (image_hu, spacing_mm); it gets
model.onnx and outputs.npz, with the logits too. jax2onnx keeps to one type of real numbers in a graph: what comes
before the network and after it, float64, and the network, float32, are converted apart and joined here.
"""

# pyright: reportMissingImports=false
import contextlib
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import lax

from mskjax.convert import load_variables
from mskjax.export import program, seal
from mskjax.export.program import INPUTS, OUTPUTS
from mskjax.files import read_json
from mskjax.types import Variables

BATCH = "b"
DOCUMENTATION = "Muscle in axial CT slices of the level learned, by mskjax; a research tool and no medical device."
Shapes = Mapping[str, tuple[int | str, ...]]


def main(folder: Path) -> None:
    """Writes model.onnx and outputs.npz."""
    import onnx
    import onnxruntime

    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    request = read_json(folder / "request.json")
    variables, _ = load_variables(request["weights"])
    model = build(request["config"], variables, tuple(request["shape"]))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    with np.load(folder / "sample.npz") as sample:
        inputs = {name: sample[name].astype(np.float32) for name in INPUTS}
    logits = session.run(["logits"], inputs)[0]
    del model.graph.output[len(OUTPUTS) :]
    onnx.checker.check_model(model)
    onnx.save(model, folder / "model.onnx")
    seal.put(folder / "model.onnx", request["about"], as_metadata=True)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    np.savez(
        folder / "outputs.npz", **dict(zip(OUTPUTS, session.run(list(OUTPUTS), inputs), strict=True)), logits=logits
    )


def build(config: Mapping[str, Any], variables: Variables, shape: tuple[int, ...]) -> Any:
    """The ONNX model of `OUTPUTS` and "logits" for slices of `shape` pixels and batches of any number."""
    from onnx import compose

    size, logits = config["image_size"], program.network(config, variables)
    slices: Shapes = {"image_hu": (BATCH, *shape), "spacing_mm": (BATCH, 2)}
    squares: Shapes = {"squares": (BATCH, size, size)}

    def network(squares: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = logits(squares)
        return found, jax.nn.sigmoid(found)

    def after(image_hu: jax.Array, spacing_mm: jax.Array, muscle: jax.Array) -> tuple[jax.Array, ...]:
        outputs = program.after(image_hu, spacing_mm, muscle)
        return tuple(outputs[name] for name in OUTPUTS)

    def before(image_hu: jax.Array, spacing_mm: jax.Array) -> jax.Array:
        return program.before(image_hu, spacing_mm, size)

    parts = {
        "before": convert(before, slices, ["squares"], exact=True),
        "network": convert(network, squares, ["logits", "muscle"], exact=False),
        "after": convert(after, {**slices, **squares}, list(OUTPUTS), exact=True),
    }
    return _joined({name: compose.add_prefix(part, f"{name}/") for name, part in parts.items()}, {**slices, **squares})


def _joined(parts: Mapping[str, Any], shapes: Shapes) -> Any:
    """One model of the three parts, whose names begin with the part's, with inputs and outputs in float32."""
    from onnx import TensorProto, helper

    real, exact = TensorProto.FLOAT, TensorProto.DOUBLE
    links = [
        *((name, f"{part}/{name}", exact) for name in INPUTS for part in ("before", "after")),
        ("before/squares", "network/squares", real),
        ("network/muscle", "after/squares", exact),
        ("network/logits", "logits", real),
        *((f"after/{name}", name, TensorProto.BOOL if name == "mask" else real) for name in OUTPUTS),
    ]
    casts = {target: helper.make_node("Cast", [source], [target], to=kind) for source, target, kind in links}
    nodes = [casts.pop(f"{part}/{name}") for name in INPUTS for part in ("before", "after")]
    for part, taken in (("before", "network/squares"), ("network", "after/squares"), ("after", None)):
        nodes += [*parts[part].graph.node, *([casts.pop(taken)] if taken else casts.values())]
    grid = shapes["image_hu"]
    shapes = {**shapes, "probability": grid, "mask": grid, "area_cm2": grid[:1], "logits": shapes["squares"]}
    inputs, outputs = (
        [
            helper.make_tensor_value_info(name, TensorProto.BOOL if name == "mask" else real, shapes[name])
            for name in names
        ]
        for names in (INPUTS, (*OUTPUTS, "logits"))
    )
    constants = [constant for part in parts.values() for constant in part.graph.initializer]
    graph = helper.make_graph(nodes, "mskjax", inputs, outputs, constants, DOCUMENTATION)
    like = parts["network"]
    return helper.make_model(graph, opset_imports=like.opset_import, ir_version=like.ir_version, producer_name="mskjax")


def convert(function: Callable[..., Any], inputs: Shapes, outputs: Sequence[str], exact: bool) -> Any:
    """The ONNX model of a function of arrays with these shapes; in float64 throughout if `exact`, else in float32."""
    from jax2onnx import to_onnx
    from onnx import TensorProto, numpy_helper

    with default_platform():
        model = to_onnx(
            function,
            list(inputs.values()),
            input_names=list(inputs),
            output_names=list(outputs),
            enable_double_precision=exact,
        )
    put_images_first(model.graph.node)
    if not exact:  # some constants of jax2onnx 0.17 are float64 all the same
        for constant in model.graph.initializer:
            if constant.data_type == TensorProto.DOUBLE:
                array = numpy_helper.to_array(constant).astype(np.float32)
                constant.CopyFrom(numpy_helper.from_array(array, constant.name))
    return model


def put_images_first(nodes: Iterable[Any]) -> None:
    """Has each Einsum of more than two operands begin with the one of most axes.

    onnxruntime multiplies them in their order: the two matrices of a resized image, which come first, share no axis,
    and at full size their product has 4 GB and takes 20 s, where image and matrix take hundredths of one.
    """
    for node in nodes:
        if node.op_type == "Einsum" and len(node.input) > 2:
            (equation,) = node.attribute
            terms, arrow, result = equation.s.decode().partition("->")
            pairs = zip(terms.split(","), node.input, strict=True)
            ordered = sorted(pairs, key=lambda pair: len(pair[0].strip()), reverse=True)
            equation.s = f"{','.join(term for term, _ in ordered)}{arrow}{result}".encode()
            node.input[:] = [name for _, name in ordered]


@contextlib.contextmanager
def default_platform() -> Iterator[None]:
    """Has `lax.platform_dependent` take the form for any platform, which ONNX cannot choose as a program is lowered."""
    chosen = lax.platform_dependent
    lax.platform_dependent = lambda *inputs, default, **_: default(*inputs)
    try:
        yield
    finally:
        lax.platform_dependent = chosen


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except ImportError as error:
        sys.exit(f"{sys.executable} lacks {error.name}")
