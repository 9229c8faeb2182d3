"""Grad-CAM: where a layer's features speak for a class (Selvaraju et al. 2017, eq. 1 and 2).

The network is traced once, and its jaxpr is cut where the layer's output is made: the part behind it is differentiated.
So the network itself is not touched, and a layer may be any feature map, whether a submodule makes it or an operation
between two of them to whose result the network gives a name by `jax.ad_checkpoint.checkpoint_name`, as those of
`mskjax.models` do by the names of Keras's layers.
"""

import difflib
import functools
from collections.abc import Iterable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.module import InterceptorContext
from jax import Array
from jax.core import Tracer, eval_jaxpr
from jax.extend.core import ClosedJaxpr, Jaxpr, Var
from jaxtyping import Float, Float32, Num
from numpy import ndarray

from mskjax.types import Variables

Made = dict[str, list[Any]]


def grad_cam(
    module: nn.Module,
    variables: Variables,
    image: Num[Array | ndarray, "..."],
    target: Any,
    layer: str,
    batch_size: int | None = None,
) -> Float32[Array, "b h w"]:
    """Each image's map in [0, 1], as large as the image, with 1 where the layer speaks most for the class `target`.

    A map is zero everywhere where nothing in the layer speaks for the class, and NaN where the network's own numbers
    are. `image` [b, h, w, c] is what the module takes in evaluation; it returns logits [b, k], or a dict with such
    "logits", and these are differentiated, not probabilities. `target` is one class for all images or one for each [b].
    `layer` is a feature map [b, h, w, c] on the way to the logits: an output of that dict ("mixed10"), a submodule's by
    its path ("backbone/layer4_2"), or else what the network names ("conv5_block16_1_relu"), in which order a name is
    looked up. Where the network uses a name several times, they are numbered from 0 in the order of the forward pass,
    as by Keras: "activation_93"; without a number it is the first. What is inside a lifted transformation such as
    `nn.remat` cannot be named. All images go through one compiled call, under an outer `jit` too; `batch_size` images
    at a time where memory is short.

    Raises `ValueError` for another layer, naming its nearest, for other shapes and for a class that is not there; a
    class that is only known under `jit` and is not there gives NaN.
    """
    if image.ndim != 4:
        raise ValueError(f"the images have shape {image.shape}; give [b, h, w, c], a single one as image[None]")
    if not len(image):
        raise ValueError("no images are given; give at least one")
    target = jnp.asarray(target)
    if not jnp.issubdtype(target.dtype, jnp.integer) or target.shape not in ((), image.shape[:1]):
        raise ValueError(
            f"target is {target.dtype}{list(target.shape)}; give one class as int, or {len(image)}, one for each image"
        )
    if batch_size is not None and batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; give at least 1, or None for all images at once")
    target = jnp.broadcast_to(target.astype(jnp.int32), image.shape[:1])  # one type, so that one call is compiled
    maps, logits = _in_batches(module, layer, batch_size or len(image), variables, jnp.asarray(image), target)
    if not isinstance(target, Tracer) and (wrong := ~_is_class(target, logits)).any():
        raise ValueError(f"target holds {target[wrong][0]}; the network has classes 0 to {logits.shape[-1] - 1}")
    return maps


def last_feature_map(module: nn.Module, variables: Variables, image: Any) -> str:
    """The name of the last of the module's outputs that is a feature map [b, h, w, c], the usual layer to look at.

    `image` is one as the module takes, or a `jax.ShapeDtypeStruct`. Raises `ValueError` where no output is such a map.
    """
    names: list[str] = []

    def note(variables: Variables, image: Any) -> None:
        outputs: Any = module.apply(variables, image)
        if isinstance(outputs, Mapping):
            names.extend(name for name, output in outputs.items() if output.ndim == 4)

    jax.eval_shape(note, variables, image)
    if not names:
        raise ValueError(f"{type(module).__name__} names no feature map among its outputs; name a submodule's path")
    return names[-1]


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _in_batches(
    module: nn.Module, layer: str, batch_size: int, variables: Variables, image: Array, target: Array
) -> tuple[Array, Array]:
    """Maps and logits of all images; the last batch is filled up with the last image."""
    count, size = len(image), min(batch_size, len(image))
    short = -count % size
    batches = jax.tree.map(
        lambda rows: jnp.concatenate([rows, jnp.repeat(rows[-1:], short, 0)]).reshape(-1, size, *rows.shape[1:]),
        (image, target),
    )
    results = jax.lax.map(lambda batch: _maps(module, layer, variables, *batch), batches)
    return jax.tree.map(lambda rows: rows.reshape(-1, *rows.shape[2:])[:count], results)


def _maps(
    module: nn.Module, layer: str, variables: Variables, image: Float[Array, "b h w c"], target: Array
) -> tuple[Float32[Array, "b h w"], Float[Array, "b k"]]:
    made: Made = {}
    forward = jax.make_jaxpr(functools.partial(_forward, module, layer, made))(variables, image)
    head, tail = _split(forward, _find(layer, forward.jaxpr, made), layer)
    activation, *others = eval_jaxpr(head, forward.consts, *jax.tree.leaves((variables, image)))

    def score(activation: Array) -> tuple[Array, Array]:
        (logits,) = eval_jaxpr(tail, (), activation, *others)
        # In evaluation images do not know of each other, so the gradient of the sum holds each one's own.
        return jnp.take_along_axis(logits, target[:, None], 1, mode="clip").sum(), logits

    gradient, logits = jax.grad(score, has_aux=True)(activation)
    weights = gradient.astype(jnp.float32).mean((1, 2))
    coarse = nn.relu(jnp.einsum("bhwc,bc->bhw", activation.astype(jnp.float32), weights, precision="highest"))
    maps = jax.image.resize(coarse, image.shape[:3], "bilinear")
    highest = maps.max((1, 2), keepdims=True)
    maps = maps / jnp.where(highest > 0, highest, 1)
    return jnp.where(_is_class(target, logits)[:, None, None], maps, jnp.nan), logits


def _is_class(target: Array, logits: Array) -> Array:
    return (target >= 0) & (target < logits.shape[-1])


def _forward(module: nn.Module, layer: str, made: Made, variables: Variables, image: Array) -> tuple[Any, Array]:
    """The layer's output, None where no output of the network or of a submodule has its name, and the logits.

    What the network and its submodules give is noted in `made`, a list as long as the submodule is applied often.
    """

    def record(call: Any, args: Any, kwargs: Any, context: InterceptorContext) -> Any:
        output = call(*args, **kwargs)
        if context.method_name == "__call__" and context.module.path:
            made.setdefault("/".join(context.module.path), []).append(output)
        return output

    with nn.intercept_methods(record):
        outputs: Any = module.apply(variables, image)
    named = outputs if isinstance(outputs, Mapping) else {"logits": outputs}
    if getattr(named.get("logits"), "ndim", 0) != 2:
        raise ValueError(f"{type(module).__name__} gives no logits [b, k]; Grad-CAM is for classifiers with a head")
    made |= {name: [output] for name, output in named.items()}
    found = made.get(layer, ())
    return (found[0] if len(found) == 1 and _is_map(found[0]) else None), named["logits"]


def _find(layer: str, jaxpr: Jaxpr, made: Made) -> Any:
    """The variable of the layer's output: the first that the traced `_forward` returns, or one that bears its name."""
    *returned, _ = jaxpr.outvars
    if returned:
        return returned[0]
    marks = _marks(jaxpr)
    if layer in marks and layer not in made:
        return marks[layer]
    maps = [*(name for name, found in made.items() if _is_map(found[0])), *marks]
    near = difflib.get_close_matches(layer, maps, n=6, cutoff=0.3) or maps[-6:]
    why = "is unknown"
    if layer in made:
        why = f"is applied {len(made[layer])} times" if layer in maps else "gives no feature map [b, h, w, c]"
    raise ValueError(f"layer {layer!r} {why}; near names are {', '.join(near)}")


def _marks(jaxpr: Jaxpr) -> dict[str, Var]:
    """The feature maps that the network names by `checkpoint_name`; those of a repeated name numbered from 0."""
    found: dict[str, list[Var]] = {}
    for equation in jaxpr.eqns:
        if equation.primitive.name == "name" and _is_map(equation.outvars[0].aval):
            found.setdefault(equation.params["name"], []).append(equation.outvars[0])
    numbered = {f"{name}_{i}": each for name, own in found.items() if len(own) > 1 for i, each in enumerate(own)}
    return {**{name: own[0] for name, own in found.items()}, **numbered}


def _is_map(output: Any) -> bool:
    return getattr(output, "ndim", 0) == 4


def _split(forward: ClosedJaxpr, activation: Var, layer: str) -> tuple[Jaxpr, Jaxpr]:
    """`forward` up to where the activation is made, and from there on to its last output, the logits.

    The first part returns, and the second takes, the activation and all else that the second needs.
    """
    jaxpr = forward.jaxpr
    logits = jaxpr.outvars[-1]
    count = next((i for i, equation in enumerate(jaxpr.eqns, 1) if activation in equation.outvars), 0)
    before, after = jaxpr.eqns[:count], jaxpr.eqns[count:]
    reached = {activation}
    for equation in after:
        if reached & _variables(equation.invars):
            reached |= set(equation.outvars)
    if logits not in reached:
        raise ValueError(f"the logits do not depend on layer {layer!r}; name a layer on the way to them")
    needed = {variable for equation in after for variable in _variables(equation.invars)} - {activation}
    known = [*jaxpr.constvars, *jaxpr.invars, *(variable for equation in before for variable in equation.outvars)]
    passed = [activation, *(variable for variable in known if variable in needed)]
    head = jaxpr.replace(eqns=before, outvars=passed)
    return head, jaxpr.replace(eqns=after, constvars=[], invars=passed, outvars=[logits])


def _variables(atoms: Iterable[Any]) -> set[Var]:
    return {atom for atom in atoms if isinstance(atom, Var)}
