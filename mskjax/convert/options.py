"""What a file of weights was made for, told from its shapes, and whether that is what was asked."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

HEADS = ("fc", "classifier", "aux_classifier", "decoder", "pretext")
_LAST = {"fc": "fc", "classifier": "classifier/logits", "decoder": "decoder/logits"}
_FITTING: dict[tuple[str | None, tuple[int, ...]], str] = {
    ("fc", (3, 4, 6, 3)): "resnet50",
    ("fc", (3, 4, 23, 3)): "resnet101",
    ("classifier", (3, 4, 23, 3)): "fcn_resnet101",
}
_KINDS = {"fc": "a classifier", "classifier": "a segmenter", "decoder": "a segmenter"}


@dataclass(frozen=True)
class Network:
    """The options that shapes tell; `head` is None, "fc" of a classifier, "classifier" or "decoder" of a segmenter.

    `stage_sizes` and `width` are told of torchvision's ResNets and FCNs alone; of others they are () and None.
    """

    stage_sizes: tuple[int, ...]
    width: int | None
    head: str | None
    num_classes: int | None
    aux_head: bool

    @property
    def name(self) -> str | None:
        """The name that `models.build` knows it by; None when it has no head or is of no published size."""
        return _FITTING.get((self.head, self.stage_sizes))


def describe(leaves: Mapping[str, Any]) -> Network | None:
    """The network that has these leaves, arrays by their paths; None when it has no trunk."""
    if not any(name.startswith("params/backbone/") for name in leaves):
        return None
    stem = leaves.get("params/backbone/conv1/kernel")
    blocks = {match.groups() for name in leaves if (match := re.match(r"params/backbone/layer(\d)_(\d+)/", name))}
    stages = [stage for stage, _ in blocks]
    last = {head: leaves.get(f"params/{kernel}/kernel") for head, kernel in _LAST.items()}
    head = next((name for name, kernel in last.items() if kernel is not None), None)
    return Network(
        stage_sizes=tuple(stages.count(stage) for stage in sorted(set(stages))),
        width=None if stem is None else _outputs(stem),
        head=head,
        num_classes=_outputs(last[head]) if head else None,
        aux_head="aux_classifier" in present_heads(leaves),
    )


def present_heads(names: Collection[str]) -> list[str]:
    """Those of `HEADS` that have leaves of these paths."""
    return [head for head in HEADS if any(name.startswith(f"params/{head}/") for name in names)]


def _outputs(kernel: Any) -> int | None:
    return kernel.shape[-1] if kernel.shape else None


def disagreements(stored: Network, asked: Network) -> list[str]:
    """Phrases that say what the file holds and which option would fit, one for each that does not; empty when all do.

    Heads that the file has and the network lacks are no disagreement: they are left out.
    """
    phrases = []
    if bool(stored.stage_sizes) != bool(asked.stage_sizes):
        phrases.append("its trunk is of another family of networks")
    elif (stored.stage_sizes, stored.width) != (asked.stage_sizes, asked.width):
        known = f", as model={stored.name!r} has" if stored.name and stored.width == 64 else ""
        phrases.append(f"its trunk fits stage_sizes={stored.stage_sizes} and width={stored.width}{known}")
    if asked.head == "decoder" and stored.head is None:
        phrases.append("it has no decoder: --model=smit_encoder fits, and graft takes its trunk into a segmenter")
    elif asked.head and stored.head is None:
        phrases.append("it has no head: num_classes=None fits")
    elif asked.head and stored.head != asked.head:
        named = f"model={stored.name!r}" if stored.name else "such a model"
        phrases.append(f"it is {_KINDS[stored.head or '']}: load it as {named} and graft its trunk")
    elif asked.head and stored.num_classes != asked.num_classes:
        phrases.append(
            f"its head is of another size: num_classes={stored.num_classes} fits; graft takes it under a new one"
        )
    if asked.aux_head and not stored.aux_head:
        phrases.append("it has no auxiliary head: aux_head=False fits")
    return phrases
