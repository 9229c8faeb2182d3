"""What cards say that an export is not for."""

from pathlib import Path

import pytest

from mskjax.export import limits
from mskjax.export.source import Source
from mskjax.tasks import TASKS

OF_SLICES, OF_SCANS = {"segmentation", "classification"}, {"volume_segmentation"}


def told(task, phantoms=False):
    source = Source(Path(), {"task": {"name": task}}, {}, Path(), "", {}, None)
    return " ".join(limits.sentences(source, {"learned_from_phantoms_only": phantoms}))


@pytest.mark.parametrize("task", TASKS)
def test_they_are_those_of_the_task(task):
    said = told(task)
    assert "no medical device" in said and "phantoms" not in said
    assert ("third lumbar vertebra" in said) == (task in OF_SLICES)
    assert ("It is for CT scans" in said) == (task in OF_SCANS)
    assert ("for other networks to begin with" in said) == (task not in OF_SLICES | OF_SCANS)


def test_phantoms_are_told():
    assert "drawn phantoms only" in told("segmentation", phantoms=True)
