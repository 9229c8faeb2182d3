"""What an export is not for, by the task that its run has learned."""

from collections.abc import Iterator, Mapping
from typing import Any

from mskjax.export.source import Source

RESEARCH = "A research tool and no medical device: no decision about a patient may rest on it."
UNNOTICED = "and does not notice another part of the body, artefacts or implants."
SLICES = (
    "It is for axial CT slices of the level that it has learned, of which the run's folder says nothing; in the study "
    "that it follows this is the third lumbar vertebra (L3). It does not find that level, does not notice another, "
    f"{UNNOTICED}"
)
BY_TASK = {
    "segmentation": (SLICES, "What it gives must be looked at beside the image, slice by slice."),
    "classification": (SLICES, "What it answers is no diagnosis, and its probability as good as its calibration."),
    "volume_segmentation": (
        f"It is for CT scans on the dataset's spacing. It does not find a level of the spine, {UNNOTICED}",
        "What it gives must be looked at beside the scan, slice by slice: it may have been taught on few of them.",
    ),
}
PRETEXT = (
    "It has learned from images alone, for other networks to begin with: its own answers tell nothing of a patient."
)
PHANTOMS = "It has learned from drawn phantoms only: its figures for a patient's scan mean nothing."


def sentences(source: Source, about: Mapping[str, Any]) -> Iterator[str]:
    """The limits, each a sentence or two."""
    yield RESEARCH
    yield from BY_TASK.get(source.task, (PRETEXT,))
    if about["learned_from_phantoms_only"]:
        yield PHANTOMS
